"""Envoy's ConfigDump JSON made from the resources that a proxy may see. Secrets are left out, keys are redacted."""

import importlib
import json
import pkgutil
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from google.protobuf import descriptor_pool
from google.protobuf.json_format import MessageToDict

from tidegate.xds.source import Resource, View
from tidegate.xds.types import BOOTSTRAP, CLUSTER, ENDPOINT, LISTENER, ROUTE

_ADMIN = "type.googleapis.com/envoy.admin.v3."
_MESSAGES: dict[str, Any] = {
    CLUSTER: cluster_pb2.Cluster,
    ENDPOINT: endpoint_pb2.ClusterLoadAssignment,
    LISTENER: listener_pb2.Listener,
    ROUTE: route_pb2.RouteConfiguration,
    BOOTSTRAP: bootstrap_pb2.Bootstrap,
}
PARTS = {
    CLUSTER: ("ClustersConfigDump", "dynamicActiveClusters", "cluster"),
    ENDPOINT: ("EndpointsConfigDump", "dynamicEndpointConfigs", "endpointConfig"),
    LISTENER: ("ListenersConfigDump", "dynamicListeners", "listener"),
    ROUTE: ("RoutesConfigDump", "dynamicRouteConfigs", "routeConfig"),
}
"""Of each kind of resource: its part of the dump, the list of entries there, and the resource in an entry."""
_SECRET_FIELDS = frozenset(
    {"privateKey", "password", "sessionTicketKeys", "tokenSecret", "hmacSecret", "pkcs12", "privateKeyProvider"}
)
_REDACTED = {"inlineString": "[redacted]"}
_TYPE_URL = re.compile(rb"type\.googleapis\.com/([A-Za-z0-9_.]+)")


def config_dump(view: View, asked: Mapping[str, Collection[str]], type_urls: Collection[str]) -> Iterator[str]:
    """The JSON text in pieces, one a resource, so that a large dump is never in memory whole.

    asked: names that the proxy subscribed to, which a wildcard does not include.
    """
    yield '{"configs":['
    between = ""
    for head, name, entries in _sections(view, asked, type_urls):
        yield f'{between}{json.dumps(head)[:-1]},"{name}":['
        yield from _joined(entries)
        yield "]}"
        between = ","
    yield "]}"


def dumped(view: View, asked: Mapping[str, Collection[str]], type_urls: Collection[str]) -> dict[str, Any]:
    """What the text of :func:`config_dump` says, for one who goes on working with it."""
    return {"configs": [{**head, name: list(entries)} for head, name, entries in _sections(view, asked, type_urls)]}


def _sections(
    view: View, asked: Mapping[str, Collection[str]], type_urls: Collection[str]
) -> Iterator[tuple[dict[str, Any], str, Iterator[dict[str, Any]]]]:
    """Of each kind of resource: what the dump says of all of them, and the field of the entries with each entry."""
    for type_url, (dump, name, field) in PARTS.items():
        if type_url in type_urls:
            head: dict[str, Any] = {"@type": _ADMIN + dump}
            if type_url in (CLUSTER, LISTENER):
                head["versionInfo"] = view.version
            yield head, name, map(partial(_entry, type_url, field), _resources(view, type_url, asked))


def _joined(entries: Iterator[dict[str, Any]]) -> Iterator[str]:
    between = ""
    for entry in entries:
        yield between + json.dumps(entry)
        between = ","


def _resources(view: View, type_url: str, asked: Mapping[str, Collection[str]]) -> Iterator[Resource]:
    for name in dict.fromkeys((*view.names(type_url), *sorted(asked.get(type_url, ())))):
        resource = view.get(type_url, name)
        if resource is not None:
            yield resource


def _entry(type_url: str, field: str, resource: Resource) -> dict[str, Any]:
    state = {"versionInfo": resource.version, field: {"@type": type_url, **content(type_url, resource)}}
    return {"name": resource.name, "activeState": state} if type_url == LISTENER else state


def content(type_url: str, resource: Resource) -> dict[str, Any]:
    """The JSON form of one resource."""
    for name in _TYPE_URL.findall(resource.body):
        _load(name.decode())
    try:
        found = MessageToDict(_MESSAGES[type_url].FromString(resource.body))
    except Exception as error:  # one resource that cannot be shown must not hide the others
        return {"name": resource.name, "error": f"cannot be shown: {error}"}
    redact(found)
    return dict(found)


@lru_cache(maxsize=4096)
def _load(name: str) -> None:
    """Make a message type known by importing the generated modules of its package."""
    try:
        descriptor_pool.Default().FindMessageTypeByName(name)
        return
    except KeyError:
        package = name.rpartition(".")[0]
    try:
        module = importlib.import_module(package)
        for found in pkgutil.iter_modules(module.__path__):
            if found.name.endswith("_pb2"):
                importlib.import_module(f"{package}.{found.name}")
    except (ImportError, AttributeError):
        return


def redact(value: Any) -> None:
    """Replace what Envoy's own dump redacts: private keys, passwords and the like, wherever they stand."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _SECRET_FIELDS:
                value[key] = _REDACTED
            else:
                redact(inner)
    elif isinstance(value, list):
        for inner in value:
            redact(inner)
