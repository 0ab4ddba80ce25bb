"""BOOTSTRAP patches in the hub: shown to those whose agents ask for them, and to nobody else."""

from typing import Any

import msgspec
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.service.discovery.v3 import discovery_pb2

from tests.unit.app.discovery.test_hub import Stage, node
from tests.unit.envoy.patches.given import envoy_filter, patch
from tests.worlds import entry, pod
from tidegate.app.discovery.hub import Shown
from tidegate.app.discovery.proxies import read_metadata
from tidegate.kit.bootstraps import ASKS, NAME, TYPE_URL
from tidegate.xds.delta import DeltaSession
from tidegate.xds.types import CLUSTER
from tidegate.xds.wire import parse_delta

BASE = (pod("shop/web", "10.1.0.1", {"app": "web"}), entry("shop/a", "a.example"))


def flushing(path: str, operation: str = "MERGE", **match: Any) -> dict[str, Any]:
    """A patch that a test knows again."""
    return patch("BOOTSTRAP", operation, {"flagsPath": path}, **match)


def attached(stage: Stage, **metadata: str) -> Shown:
    read = {k: v for k, v in read_metadata(metadata).items() if k in ("version", "metadata")}
    return stage.hub.attach(msgspec.structs.replace(node("web"), **read))


def shown(proxy: Shown) -> str:
    found = proxy.mailbox.view.get(TYPE_URL, NAME)
    return str(bootstrap_pb2.Bootstrap.FromString(found.body).flags_path) if found is not None else ""


def test_only_who_asks_is_shown_them() -> None:
    stage = Stage(*BASE, envoy_filter("shop/f", flushing("/x")))
    assert shown(attached(stage, **{ASKS: "true"})) == "/x"
    assert shown(attached(stage, **{ASKS: "false"})) == shown(attached(stage)) == ""
    assert set(attached(stage).mailbox.view.names(TYPE_URL)) == set()


def test_the_own_namespace_comes_after_the_root() -> None:
    root, own = envoy_filter("istio-system/r", flushing("/root"), day=2), envoy_filter("shop/f", flushing("/own"))
    assert shown(attached(Stage(*BASE, own, root), **{ASKS: "1"})) == "/own"
    assert shown(attached(Stage(*BASE, root), **{ASKS: "1"})) == "/root"


def test_workload_and_proxy_are_chosen_as_for_other_patches() -> None:
    other = envoy_filter("shop/a", flushing("/db"), workloadSelector={"labels": {"app": "db"}})
    stage = Stage(*BASE, other, envoy_filter("shop/b", flushing("/new", proxy={"proxyVersion": "^9"})))
    assert shown(attached(stage, ISTIO_VERSION="9.1", **{ASKS: "true"})) == "/new"
    assert shown(attached(stage, ISTIO_VERSION="1.2", **{ASKS: "true"})) == ""


def test_an_edit_is_what_the_next_start_gets() -> None:
    stage = Stage(*BASE, envoy_filter("shop/f", flushing("/one")))
    first = attached(stage, **{ASKS: "true"})
    stage.apply(envoy_filter("shop/f", flushing("/two")))
    assert shown(first) == shown(attached(stage, **{ASKS: "true"})) == "/two"


def test_what_nobody_takes_is_told() -> None:
    stage = Stage(*BASE, envoy_filter("shop/f", flushing("/x"), flushing("/y", "ADD")))
    attached(stage)
    ((_, texts),) = stage.hub.problems().items()
    assert len(texts) == 2 and all("BOOTSTRAP_XDS_AGENT=true" in text for text in texts)
    attached(stage, **{ASKS: "true"})
    ((_, (text,)),) = stage.hub.problems().items()
    assert "configPatches[1]" in text and "MERGE alone" in text


def test_other_resources_are_as_they_were() -> None:
    plain, patched = (
        attached(Stage(*BASE)),
        attached(Stage(*BASE, envoy_filter("shop/f", flushing("/x"))), **{ASKS: "true"}),
    )
    names = set(plain.mailbox.view.names(CLUSTER))
    assert names == set(patched.mailbox.view.names(CLUSTER))
    assert all(plain.mailbox.view.get(CLUSTER, n) == patched.mailbox.view.get(CLUSTER, n) for n in names)


def test_a_proxy_without_patches_is_answered_that_there_are_none() -> None:
    asked = discovery_pb2.DeltaDiscoveryRequest(type_url=TYPE_URL, resource_names_subscribe=[NAME])
    sends = DeltaSession(attached(Stage(*BASE)).mailbox.view).on_request(parse_delta(asked.SerializeToString()))
    (response,) = (discovery_pb2.DeltaDiscoveryResponse.FromString(each.data) for each in sends)
    assert (response.type_url, list(response.removed_resources)) == (TYPE_URL, [NAME])
