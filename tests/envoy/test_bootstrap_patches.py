"""A real Envoy runs with what EnvoyFilters merge into its bootstrap; one that it would refuse costs the patch alone."""

import asyncio
import json
from typing import Any

from tests.envoy.test_agent import (  # noqa: F401 (fixtures are known by their import)
    ControlPlane,
    Workload,
    control,
    item,
    page,
    pytestmark,
    until,
    until_served,
    workload,
)
from tests.unit.envoy.patches.given import patch, patch_set
from tidegate.api.envoyfilter import ApplyTo
from tidegate.envoy.patches.bootstraps import joined
from tidegate.kit.bootstraps import ASKS, NAME, TYPE_URL
from tidegate.xds.fixed import FixedView, Item
from tidegate.xds.types import LISTENER

ASKING = "--bootstrap-xds-agent"
TAG = {"tagName": "patched", "regex": "^(patched)"}
LAYER = {"name": "patched", "staticLayer": {"patched.key": 7}}


def show(plane: ControlPlane, *values: dict[str, Any]) -> None:
    """Serve a page, and the values as BOOTSTRAP patches."""
    made = joined(patch_set(*(patch("BOOTSTRAP", "MERGE", value) for value in values)).of(ApplyTo.BOOTSTRAP))
    found = made.resources[NAME]
    patches = Item(found.name, found.body, found.version)
    plane.view = FixedView("patched", {LISTENER: [item(page("first"))], TYPE_URL: [patches]})


async def asked(workload: Workload, path: str) -> Any:  # noqa: F811
    return json.loads(await asyncio.to_thread(workload.curl, f"http://127.0.0.1:15000/{path}"))


async def running(workload: Workload) -> dict[str, Any]:  # noqa: F811
    """The bootstrap that Envoy says it was started with."""
    configs = (await asked(workload, "config_dump"))["configs"]
    found = next(each for each in configs if each["@type"].endswith(".BootstrapConfigDump"))
    return dict(found["bootstrap"])


async def test_patches_are_in_force_from_the_start(workload: Workload, control: ControlPlane) -> None:  # noqa: F811
    admin = {"address": {"socketAddress": {"address": "127.0.0.1", "portValue": 9}}}
    show(control, {"statsConfig": {"statsTags": [TAG]}}, {"layeredRuntime": {"layers": [LAYER]}, "admin": admin})
    workload.start(ASKING)
    await until_served(workload, "first")
    found = await running(workload)
    assert [each["tag_name"] for each in found["stats_config"]["stats_tags"]] == ["cluster_name", "patched"]
    assert found["node"]["metadata"][ASKS] == "true"
    assert (await asked(workload, "runtime"))["entries"]["patched.key"]["final_value"] == "7"
    assert "admin.address stays as it was" in workload.log()
    assert (await asyncio.to_thread(workload.status))["envoy"]["starts"] == 1
    assert await asyncio.to_thread(workload.finish) == 0
    workload.start()
    await until_served(workload, "first")
    tags = (await running(workload))["stats_config"]["stats_tags"]
    assert [each["tag_name"] for each in tags] == ["cluster_name"], "who does not ask is not patched"


async def test_what_envoy_refuses_costs_the_patches_alone(workload: Workload, control: ControlPlane) -> None:  # noqa: F811
    twice = {"name": "xds-grpc", "type": "STATIC", "loadAssignment": {"clusterName": "xds-grpc"}}
    show(control, {"staticResources": {"clusters": [twice]}})
    workload.start(ASKING)
    await until_served(workload, "first")
    told = next(line for line in workload.log().splitlines() if "without the bootstrap patches" in line)
    assert told.endswith("Envoy refuses them: cluster manager: duplicate cluster 'xds-grpc'")
    assert workload.status()["envoy"]["starts"] == 1


async def test_a_control_plane_without_patches_holds_nothing_up(workload: Workload, control: ControlPlane) -> None:  # noqa: F811
    workload.start(ASKING)
    await until_served(workload, "first")
    assert "no EnvoyFilter changes the bootstrap" in workload.log()
    assert "did not tell them" not in workload.log()


async def test_a_control_plane_that_refuses_is_asked_again_and_told(
    workload: Workload,  # noqa: F811
    control: ControlPlane,  # noqa: F811
) -> None:
    show(control, {"statsConfig": {"statsTags": [TAG]}})
    workload.token.write_text("wrong\n")
    workload.start(ASKING)
    await until(workload, lambda: len(control.tokens) > 1, "another attempt")
    assert workload.envoy_pid() is None, "Envoy waits for it"
    workload.token.write_text("token-2\n")
    await until_served(workload, "first")
    assert [each["tag_name"] for each in (await running(workload))["stats_config"]["stats_tags"]][1:] == ["patched"]
