"""Ingress objects as the Gateway and VirtualServices that they stand for; Gateway API objects are not read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from conformance import difference
from conformance.suite import Json, Outcome, judged
from tidegate.api import meshconfig
from tidegate.api.decode import stored
from tidegate.api.objects import Object
from tidegate.registry import ingress

_DOMAIN = "mydomain"


def judge(folder: Path) -> Iterator[Outcome]:
    return judged(sorted(folder.glob("*/*/input.yaml")), lambda f: f"{f.parts[-3]}/{f.parts[-2]}", _judge)


def _judge(file: Path) -> str:
    if file.parts[-3] != "ingress":
        return "Gateway API objects are not read"
    given = [stored(raw) for raw in _documents(file) if raw["kind"] == "Ingress"]
    wanted = [stored(raw) for raw in _documents(file.with_name("expected.yaml"))]
    made: list[Object[Any]] = [ingress.gateway(each, meshconfig.DEFAULTS) for each in given]
    for host in sorted({host for each in given for host in ingress.hosts_of(each)}):
        ours = [each for each in given if host in ingress.hosts_of(each)]
        made.append(ingress.virtual_service(host, ours, _DOMAIN, lambda *_: 0))
    return difference.of(*(sorted(map(_meaning, side), key=lambda each: each["object"]) for side in (wanted, made)))


def _documents(file: Path) -> list[Json]:
    return [raw for raw in yaml.safe_load_all(file.read_text()) if raw]


def _meaning(found: Object[Any]) -> Json:
    if found.ref.kind == "Gateway":
        servers = [
            {
                "port": (each.port.number, each.port.name, each.port.protocol),
                "hosts": list(each.hosts),
                "certificate": each.tls.credential_name if each.tls else "",
            }
            for each in found.spec.servers
        ]
        return {"object": str(found.ref), "selector": found.spec.selector, "servers": servers}
    routes = [(_matched(http.match), _target(http)) for http in found.spec.http]
    return {"object": str(found.ref), "hosts": found.spec.hosts, "gateways": found.spec.gateways, "routes": routes}


def _matched(matches: Any) -> list[str]:
    """Paths; a prefix that ends at slashes in istiod's reading, and in ours by two matches, alike."""
    texts = [m.uri.exact if m.uri.exact is not None else f"{m.uri.prefix.rstrip('/')}/*" for m in matches]
    below = {text.removesuffix("/*") for text in texts if text.endswith("/*")}
    return [text for text in texts if text not in below]


def _target(http: Any) -> str:
    return ", ".join(f"{r.destination.host}:{r.destination.port.number}" for r in http.route)
