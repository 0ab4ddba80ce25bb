"""What a lab's agent is told of the application's statistics."""

import json

import pytest

from tidegate.lab.metrics import environment
from tidegate.lab.spec import Workload

ASKED = {"prometheus.io/port": "9102"}


def told(annotations: dict[str, str], *, merged: bool = True, kind: str = "sidecar") -> object:
    given = environment(Workload(name="web", type=kind, annotations=annotations), merged=merged)
    return json.loads(given["ISTIO_PROMETHEUS_ANNOTATIONS"]) if given else None


def test_the_annotations_reach_the_agent() -> None:
    assert told(ASKED) == {"scrape": "", "path": "", "port": "9102"}


@pytest.mark.parametrize("annotations", [{}, {"prometheus.io/scrape": "false"}, {"prometheus.io/port": "15020"}])
def test_an_application_that_tells_nothing_is_not_asked(annotations: dict[str, str]) -> None:
    assert told(annotations) is None


def test_the_mesh_decides_and_the_pod_before_it() -> None:
    assert told(ASKED, merged=False) is None
    assert told({**ASKED, "prometheus.istio.io/merge-metrics": "true"}, merged=False) is not None
    assert told({**ASKED, "prometheus.istio.io/merge-metrics": "false"}) is None


def test_a_gateway_has_no_application() -> None:
    assert told(ASKED, kind="router") is None
