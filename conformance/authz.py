"""AuthorizationPolicy objects in, the filters that enforce them out: RBAC and external authorization."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml
from google.protobuf import json_format

from conformance import difference
from conformance.recorded.compare import normalized
from conformance.suite import Json, Outcome, judged
from tidegate.api import meshconfig
from tidegate.api.decode import stored
from tidegate.api.objects import Object
from tidegate.envoy import protos, security
from tidegate.registry.model import labels_of

WORKLOAD = ("foo", labels_of({"app": "httpbin", "version": "v1"}))
"""Namespace and labels of the workload that the suite asks about."""


def judge(folder: Path) -> Iterator[Outcome]:
    files = sorted((folder / "cases").glob("*/case.json"))
    return judged(files, lambda f: str(json.loads(f.read_text())["name"]), _judge)


def _judge(file: Path) -> str:
    case: Json = json.loads(file.read_text())
    http = case["filter_type"] == "http"
    message = protos.HttpFilter if http else protos.Filter
    names = case["expected"] or ()
    wanted = [normalized(yaml.safe_load((file.parent / name).read_text()), message) for name in names]
    made = security.filters(
        _policies(file.parent / case["input"]),
        WORKLOAD,
        tuple(case["trust_domains"] or ()),
        _mesh(case),
        case["filter_type"],
        case["custom_actions_only"],
    )
    return difference.of(wanted, [json_format.MessageToDict(each, preserving_proto_field_name=True) for each in made])


def _policies(file: Path) -> list[Object[Any]]:
    """The objects of the input; one that names no namespace has none."""
    return [stored(raw) for raw in yaml.safe_load_all(file.read_text()) if raw]


def _mesh(case: Json) -> Any:
    """The case's mesh configuration, with no root namespace."""
    mesh = meshconfig.parse(json.dumps(case["mesh"] or {}))
    return msgspec.structs.replace(mesh, root_namespace="")
