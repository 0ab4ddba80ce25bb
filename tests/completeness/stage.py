"""A control plane in which one object changes at a time, and what its proxies are shown of it."""

import copy
import json
from functools import lru_cache
from typing import Any

from tests.completeness.bases import AROUND
from tidegate.api import decode
from tidegate.api.decode import Admitted
from tidegate.api.kinds import KINDS
from tidegate.api.mesh import MeshConfig
from tidegate.api.objects import Object, Ref
from tidegate.api.shapes import MessageShape, shape_of
from tidegate.app.discovery.hub import Hub, Shown
from tidegate.app.discovery.proxies import Node
from tidegate.envoy.outbound import TYPES
from tidegate.envoy.resource import SECRET
from tidegate.scope.proxy import Interception
from tidegate.snapshot.world import Event, Verb

MESH = "MeshConfig"


def _client(**more: Any) -> Node:
    return Node(
        name="client.one", namespace="one", pod="client", service_account="client", address="10.244.0.2", **more
    )


PROXIES = (
    _client(),
    _client(dns_capture=True, interception=Interception.NONE),
    Node(name="server.one", namespace="one", pod="server", service_account="server", address="10.244.0.3"),
    Node(name="other.two", namespace="two", pod="other", service_account="other", address="10.244.0.4"),
    Node(name="gw.one", namespace="one", pod="gw", service_account="gw", address="10.244.0.5", router=True),
    Node(name="edge.two", namespace="two", pod="edge", service_account="edge", address="10.244.0.6", router=True),
)
"""None has a certificate."""

Seen = tuple[dict[tuple[str, str], bytes], ...]
"""For each proxy the bytes of every resource, by type URL and name."""


class Stage:
    """The world of ``AROUND`` and the proxies in it. Nothing that was shown in it stays behind."""

    def __init__(self) -> None:
        self.hub = Hub()
        found = [decode.stored(copy.deepcopy(raw)) for raw in AROUND]
        self.around = {each.ref: Event(Verb.PUT, each.ref, each) for each in found}
        self.hub.apply(self.around.values())
        self.shown = [self.hub.attach(node) for node in PROXIES]
        self._read = [(each.mailbox.view, _everything(each)) for each in self.shown]
        self.bare = self.seen()

    def seen(self) -> Seen:
        for index, each in enumerate(self.shown):
            if each.mailbox.view is not self._read[index][0]:
                self._read[index] = (each.mailbox.view, _everything(each))
        return tuple(resources for _, resources in self._read)

    def show(self, item: Object[Any]) -> Seen:
        """What the proxies see while the object is there, or while it stands for the one around of the same name.

        ``clear`` takes it away again.
        """
        self.hub.apply([Event(Verb.PUT, item.ref, item)])
        left_out = [note for note in self.hub.world.problems().get(item.ref, ()) if note.startswith("left out: ")]
        assert not left_out, left_out
        return self.seen()

    def clear(self, ref: Ref) -> None:
        """The world as it was before ``show``."""
        self.hub.apply([self.around.get(ref, Event(Verb.DELETE, ref))])
        assert self.seen() == self.bare, f"{ref} leaves something behind"


def _everything(shown: Shown) -> dict[tuple[str, str], bytes]:
    view = shown.mailbox.view
    found = {(url, name): view.get(url, name) for url in (*TYPES, SECRET) for name in view.names(url)}
    return {key: resource.body for key, resource in found.items() if resource is not None}


@lru_cache(maxsize=1)
def stage() -> Stage:
    return Stage()


def shape_for(kind: str) -> MessageShape:
    return shape_of(MeshConfig if kind == MESH else KINDS[kind].body)


def root_of(kind: str) -> str:
    """Where the body's fields begin in paths of errors and warnings."""
    return "data.mesh" if kind == MESH else "spec"


def admitted(kind: str, body: dict[str, Any]) -> Admitted:
    """The body written as an object of its kind; of MeshConfig as the text in the mesh's ConfigMap."""
    if kind == MESH:
        raw = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "istio", "namespace": "istio-system", "uid": "mesh"},
            "data": {"mesh": json.dumps(body)},
        }
    else:
        raw = {
            "apiVersion": KINDS[kind].api_version,
            "kind": kind,
            "metadata": {"name": "mutated", "namespace": "one", "uid": "mutated"},
            "spec": copy.deepcopy(body),
        }
    return decode.admit(raw, field_validation="Strict")
