"""One connection before and after a change: manifests that would be applied, objects that would be deleted."""

from pathlib import Path

import pytest

from tests.unit.app.diagnosis.test_explain import CLIENT, entry, pod, service
from tidegate.answer.comparison import Comparison, compare
from tidegate.answer.question import Question
from tidegate.app.diagnosis.change import changed
from tidegate.app.diagnosis.explain import Scene, World, explain, from_manifests, scene
from tidegate.app.offline import proxyspec
from tidegate.app.offline.world import Settings
from tidegate.kit.errors import TidegateError

API = entry("api", "api.example.com", "number: 80, name: http, protocol: HTTP")
ROUTE = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %s, namespace: shop}
spec:
  hosts: [api.example.com]
  http: [{timeout: %s, route: [{destination: {host: api.example.com}}]}]
"""
MESH = """---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "outboundTrafficPolicy: {mode: %s}"}
"""


def world(folder: Path, text: str, mode: str = "ALLOW_ANY") -> World:
    path = folder / "world.yaml"
    path.write_text(CLIENT % ("", mode) + text)
    return from_manifests([str(path)], Settings())


def compared(before: World, folder: Path, *, applied: str = "", deleted: tuple[str, ...] = ()) -> Comparison:
    path = folder / "change.yaml"
    path.write_text(applied)
    after = changed(before, [str(path)] if applied else [], deleted)
    question = Question(to="api.example.com", port=80, protocol="http")
    return compare(*(explain(scene_of(each), question) for each in (before, after)))


def scene_of(of: World) -> Scene:
    spec = proxyspec.choose(of.offline.hub.world, "client.shop")
    return scene(of.offline, of.manifests, spec)


def test_a_host_that_becomes_known(tmp_path: Path) -> None:
    found = compared(world(tmp_path, "", "REGISTRY_ONLY"), tmp_path, applied=API)
    assert (found.before.outcome, found.after.outcome) == ("blackhole", "reaches")
    assert "change.yaml:" in found.after.at
    assert {"outcome", "decidingObject", "cluster", "ends"} <= {*found.differs}


def test_a_host_that_is_deleted(tmp_path: Path) -> None:
    found = compared(world(tmp_path, API), tmp_path, deleted=("se/shop/api",))
    assert (found.before.outcome, found.after.outcome) == ("reaches", "passthrough")


def test_what_differs_may_be_a_timeout_alone(tmp_path: Path) -> None:
    before = world(tmp_path, API + ROUTE % ("v", "2s"))
    found = compared(before, tmp_path, applied=ROUTE % ("v", "3s"))
    assert found.differs == ("ends",)
    assert [each.ends[0].timeout for each in (found.before, found.after)] == ["2s", "3s"]


def test_a_change_that_does_nothing_to_the_connection(tmp_path: Path) -> None:
    before = world(tmp_path, API)
    found = compared(
        before, tmp_path, applied=entry("other", "b.example.com", "number: 81, name: http, protocol: HTTP")
    )
    assert found.differs == ()
    assert compared(before, tmp_path, applied=API).differs == ()


def test_a_new_object_is_the_youngest_and_loses(tmp_path: Path) -> None:
    """By name alone it would come first; an object that is replaced keeps its age."""
    before = world(tmp_path, API + ROUTE % ("v", "2s"))
    found = compared(before, tmp_path, applied=ROUTE % ("a", "3s") + ROUTE % ("v", "4s"))
    assert found.after.ends[0].timeout == "4s"
    assert found.after.deciding_object == "VirtualService/shop/v"


def test_the_mesh_configuration_may_change(tmp_path: Path) -> None:
    mesh = tmp_path / "mesh.yaml"
    mesh.write_text("outboundTrafficPolicy: {mode: ALLOW_ANY}")
    path = tmp_path / "world.yaml"
    path.write_text(CLIENT % ("", "ALLOW_ANY"))
    before = from_manifests([str(path)], Settings(mesh_config=mesh))
    found = compared(before, tmp_path, applied=MESH % "REGISTRY_ONLY")
    assert (found.before.outcome, found.after.outcome) == ("passthrough", "blackhole")


def test_an_object_keeps_the_status_that_others_wrote(tmp_path: Path) -> None:
    text = service("web", "name: http, port: 80") + pod("web", "10.8.0.9")
    before = world(tmp_path, text)
    relabelled = pod("client", "10.8.0.1").partition("status:")[0].replace("app: client", "app: client, tier: front")
    after = changed(before, [str(write(tmp_path, relabelled))], ())
    assert scene_of(after).compiled.proxy.addresses == ("10.8.0.1",)


def write(folder: Path, text: str) -> Path:
    path = folder / "change.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("deleted", "told"),
    [
        ("se/shop/nothing", "ServiceEntry/shop/nothing is not there"),
        ("se/api", "ServiceEntry/default/api is not there"),
        ("thing/shop/api", "must be KIND/NAME or KIND/NAMESPACE/NAME"),
        ("se/a/b/c", "must be KIND/NAME or KIND/NAMESPACE/NAME"),
        ("se/", "must be KIND/NAME or KIND/NAMESPACE/NAME"),
    ],
)
def test_what_cannot_be_deleted(tmp_path: Path, deleted: str, told: str) -> None:
    with pytest.raises(TidegateError, match=told):
        changed(world(tmp_path, API), [], [deleted])


def test_a_change_that_a_server_would_refuse(tmp_path: Path) -> None:
    path = write(tmp_path, ROUTE % ("v", "3x"))
    with pytest.raises(TidegateError, match=r"(?s)would be refused:.*change.yaml:7.*timeout: must be a duration"):
        changed(world(tmp_path, API), [str(path)], [])
