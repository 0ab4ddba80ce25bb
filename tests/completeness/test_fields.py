"""No field is ignored silently: changing it changes a resource, or writing it is answered with a warning by path."""

import copy
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest

from tests.completeness.bases import AROUND, BASES
from tests.completeness.context import context_of, values_of
from tests.completeness.mutations import leaves, put
from tidegate.api import decode
from tidegate.api.kinds import KINDS
from tidegate.api.shapes import shape_of
from tidegate.app.hub import Hub
from tidegate.app.proxies import Node
from tidegate.envoy.outbound import TYPES
from tidegate.kit.errors import InvalidObjectError
from tidegate.scope.proxy import Interception
from tidegate.snapshot.world import Event, Verb

PROXIES = (
    Node(name="client.one", namespace="one", pod="client", service_account="client", address="10.244.0.2"),
    Node(name="server.one", namespace="one", pod="server", service_account="server", address="10.244.0.3"),
    Node(
        name="client.one",
        namespace="one",
        pod="client",
        service_account="client",
        address="10.244.0.2",
        dns_capture=True,
        interception=Interception.NONE,
    ),
)


@lru_cache(maxsize=1)
def around() -> tuple[Event, ...]:
    found = [decode.stored(copy.deepcopy(raw)) for raw in AROUND]
    return tuple(Event(Verb.PUT, each.ref, each) for each in found)


def as_object(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    info = KINDS[kind]
    return {
        "apiVersion": info.api_version,
        "kind": kind,
        "metadata": {"name": "mutated", "namespace": "one", "uid": "mutated"},
        "spec": body,
    }


def shown(events: tuple[Event, ...]) -> list[dict[str, dict[str, bytes]]]:
    """Everything that the proxies are shown in a world, as bytes by type and name."""
    hub = Hub()
    hub.apply(events)
    out = []
    for node in PROXIES:
        view = hub.attach(node).mailbox.view
        names = {url: set(view.names(url)) for url in TYPES}
        routes = {
            name for listener in names[TYPES[2]] for name in (listener.rpartition("_")[2], "80", "a.example:80")
        }
        names[TYPES[3]] |= routes
        out.append({url: {n: r.body for n in names[url] if (r := view.get(url, n))} for url in TYPES})
    return out


def verdict(kind: str, path: str, bodies: list[dict[str, Any]]) -> str:
    """"" when all is well, else what is wrong."""
    seen = []
    for body in bodies:
        try:
            admitted = decode.admit(as_object(kind, copy.deepcopy(body)), field_validation="Strict")
        except InvalidObjectError as error:
            return f"{path}: not admitted: {error.errors[0]}"
        if warned(path, admitted.warnings):
            return ""
        found = decode.stored(admitted.object)
        seen.append(shown((*around(), Event(Verb.PUT, found.ref, found))))
    if all(each == seen[0] for each in seen[1:]):
        return f"{path}: changes nothing and warns of nothing"
    return ""


def warned(path: str, warnings: tuple[str, ...]) -> bool:
    """Whether a warning names the field or something that it stands in."""
    wanted = path.replace("[]", "[0]")
    for text in warnings:
        named = text.partition(":")[0]
        pattern = re.escape(named).replace(r"\{\}", ".*")
        if re.match(pattern + r"($|[.\[{])", re.sub(r"\{\}", "[x-key]", wanted)) and "not acted on" in text:
            return True
    return False


def cases(kind: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    shape = shape_of(KINDS[kind].body)
    for path, leaf in leaves(shape, "spec"):
        body = copy.deepcopy(BASES[kind])
        key = "x-key"
        for needed, value, other in context_of(kind, path):
            body = put(shape, body, needed, value, other or key)
        found, key = values_of(kind, path, leaf)
        yield path, [put(shape, body, path, value, key) for value in found]


@pytest.mark.parametrize("kind", sorted(BASES))
def test_every_field_acts_or_warns(kind: str) -> None:
    wrong = [text for path, bodies in cases(kind) if (text := verdict(kind, path, bodies))]
    assert not wrong, f"{len(wrong)} fields:\n" + "\n".join(wrong)
