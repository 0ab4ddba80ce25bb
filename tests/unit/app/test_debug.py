"""The control plane's HTTP endpoints, over real connections objects."""

import json

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from google.protobuf.json_format import Parse
from starlette.testclient import TestClient

from tidegate import __version__
from tidegate.app.debug import ENDPOINTS, debug_app
from tidegate.app.metrics import Metrics
from tidegate.xds.delta import DeltaSession
from tidegate.xds.fixed import FixedView, Item
from tidegate.xds.node import parse_node_id
from tidegate.xds.server import Connection, Identity
from tidegate.xds.types import CLUSTER, LISTENER, SECRET
from tidegate.xds.wire import DeltaRequest, Node
