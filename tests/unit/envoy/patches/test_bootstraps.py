"""BOOTSTRAP patches of one proxy, joined into what its agent merges."""

from typing import Any

from envoy.config.bootstrap.v3 import bootstrap_pb2

from tests.unit.envoy.patches.given import patch, patch_set
from tidegate.api.envoyfilter import ApplyTo
from tidegate.envoy.patches.bootstraps import Joined, joined
from tidegate.kit.bootstraps import NAME, TYPE_URL


def given(*patches: dict[str, Any]) -> Joined:
    return joined(patch_set(*patches).of(ApplyTo.BOOTSTRAP))


def message(found: Joined) -> Any:
    assert found.resources[NAME].type_url == TYPE_URL
    return bootstrap_pb2.Bootstrap.FromString(found.resources[NAME].body)


def tag(name: str) -> dict[str, Any]:
    return {"statsConfig": {"statsTags": [{"tagName": name, "regex": "x"}]}}


def test_later_ones_replace_values_and_lengthen_lists() -> None:
    found = given(
        patch("BOOTSTRAP", "MERGE", {**tag("a"), "statsFlushInterval": "5.5s", "flagsPath": "/one"}),
        patch("BOOTSTRAP", "MERGE", {**tag("b"), "statsFlushInterval": "7s"}, context="GATEWAY"),
    )
    made = message(found)
    assert [each.tag_name for each in made.stats_config.stats_tags] == ["a", "b"]
    assert (made.stats_flush_interval.seconds, made.stats_flush_interval.nanos) == (7, 0), (
        "durations are replaced whole"
    )
    assert made.flags_path == "/one"
    assert len(found.applied) == 2 and not found.failed
    assert [each.field for each in found.resources[NAME].origins] == [
        "spec.configPatches[0].patch.value",
        "spec.configPatches[1].patch.value",
    ]


def test_the_value_of_the_object_stays_as_it_was() -> None:
    patches = patch_set(patch("BOOTSTRAP", "MERGE", tag("a")), patch("BOOTSTRAP", "MERGE", tag("b"))).patches
    joined(patches)
    assert [len(each.value.stats_config.stats_tags) for each in patches] == [1, 1]


def test_nothing_else_than_merge_is_done_to_a_bootstrap() -> None:
    found = given(patch("BOOTSTRAP", "ADD", tag("a")), patch("BOOTSTRAP", "REMOVE"))
    assert not found.resources and not found.applied
    assert {why for _, why in found.failed} == {"a bootstrap takes the operation MERGE alone"}


def test_without_patches_there_is_nothing() -> None:
    assert given(patch("CLUSTER", "MERGE", {"name": "x"})) == Joined()
