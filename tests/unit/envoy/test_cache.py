"""Builders behind their cache: called once for an input, forgotten with their results, and contained when they fail."""

import gc

import pytest

from tests.unit.envoy.given import cluster, defaults
from tidegate.envoy import clusters
from tidegate.envoy.cache import Builders
from tidegate.envoy.inputs import ClusterInput, Input
from tidegate.envoy.resource import Resource


def failing(given: ClusterInput) -> Resource | None:
    raise ValueError(f"cannot build {given.port.number}")


def test_equal_inputs_have_one_result() -> None:
    builders = Builders()
    first = builders.get(clusters.build, cluster())
    assert builders.get(clusters.build, cluster()) is first
    assert sum(builders.built.values()) == 1


def test_another_input_is_another_call() -> None:
    builders = Builders()
    held = [builders.get(clusters.build, cluster(defaults=defaults(h2_upgrade=h2))) for h2 in (False, True)]
    assert None not in held
    assert sum(builders.built.values()) == 2


def test_a_result_that_nobody_holds_is_built_again() -> None:
    builders = Builders()
    builders.get(clusters.build, cluster())
    gc.collect()
    builders.get(clusters.build, cluster())
    assert sum(builders.built.values()) == 2


def test_a_failure_goes_to_the_caller() -> None:
    with pytest.raises(ValueError, match="cannot build 8080"):
        Builders().get(failing, cluster())


def test_or_to_whoever_wants_to_be_told() -> None:
    told: list[tuple[str, Input, str]] = []
    builders = Builders(lambda name, given, error: told.append((name, given, str(error))))
    assert builders.get(failing, cluster()) is None
    assert builders.get(clusters.build, cluster()) is not None
    assert [(name.rpartition(".")[2], text) for name, _, text in told] == [("failing", "cannot build 8080")]
