"""No field is ignored silently: changing it changes a resource, or writing it is answered with a warning by path."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.completeness.bases import BASES
from tests.completeness.context import FIRST_ONLY, PARTLY, REFUSED, of_kind
from tests.completeness.judge import Answer, answered, cases, judge, verdicts, warned
from tests.completeness.lists import lists, longer, pairs
from tests.completeness.stage import MESH, Stage, admitted, root_of, stage
from tidegate.api import unacted

KINDS = sorted(BASES)

LEAST_UNACTED = {
    "AuthorizationPolicy": 6,
    "PeerAuthentication": 3,
    "RequestAuthentication": 6,
    "EnvoyFilter": 9,
    "ProxyConfig": 4,
    "Telemetry": 15,
    "WasmPlugin": 23,
    "DestinationRule": 26,
    "Gateway": 2,
    "MeshConfig": 185,
    "ServiceEntry": 1,
    "Sidecar": 15,
    "VirtualService": 1,
    "WorkloadEntry": 1,
    "WorkloadGroup": 23,
}
"""How many fields of a kind are known not to act at least; lower a number when fields begin to."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_acts_or_warns(kind: str) -> None:
    known = of_kind(kind, REFUSED)
    wrong = [
        v for v in verdicts(kind) if v.answer is Answer.SILENT or (v.answer is Answer.REFUSED and v.path not in known)
    ]
    assert not wrong, f"{len(wrong)} fields:\n" + "\n".join(map(str, wrong))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_never_admitted_is_refused_by_name(kind: str) -> None:
    assert answered(kind, Answer.REFUSED) == of_kind(kind, REFUSED)
    wrong = [v for v in verdicts(kind) if v.answer is Answer.REFUSED and not v.refusal_names_it()]
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("kind", KINDS)
def test_no_warning_says_of_a_field_that_acts_that_it_does_not(kind: str) -> None:
    assert answered(kind, Answer.BOTH) == of_kind(kind, PARTLY)


@pytest.mark.parametrize("kind", KINDS)
def test_without_their_warnings_unacted_fields_are_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = answered(kind, Answer.WARNED)
    assert len(quiet) >= LEAST_UNACTED[kind]
    monkeypatch.setattr(unacted, "UNACTED", {})
    bodies = {path: (place, found) for path, place, found in cases(kind) if path in quiet}
    silent = {path for path, (at, found) in bodies.items() if not warned(at, (admitted(kind, b) for b in found))}
    assert silent == quiet, "nothing but the list of unacted fields warns of them"


@pytest.mark.parametrize(
    ("builder", "kind", "path"),
    [
        ("actions.set_timeout", "VirtualService", "spec.http[].timeout"),
        ("balancing.put_outlier_detection", "DestinationRule", "spec.trafficPolicy.outlierDetection.interval"),
        ("pool.put_keepalive", "DestinationRule", "spec.trafficPolicy.connectionPool.tcp.tcpKeepalive.time"),
        ("pool.put_keepalive", "MeshConfig", "data.mesh.tcpKeepalive.probes"),
    ],
)
@pytest.mark.usefixtures("nothing_cached")
def test_a_field_that_a_builder_forgets_is_found(
    builder: str, kind: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = next(case for case in cases(kind) if case[0] == path)
    assert judge(kind, *case, stage()).answer is Answer.ACTS
    forget_results()
    monkeypatch.setattr(f"tidegate.envoy.{builder}", lambda *_: None)
    assert judge(kind, *case, Stage()).answer is Answer.SILENT


@pytest.fixture
def nothing_cached() -> Iterator[None]:
    """What a crippled builder makes must not outlive the test."""
    yield
    forget_results()


def forget_results() -> None:
    builders = [module for name, module in sys.modules.items() if name.startswith("tidegate.envoy.")]
    for function in [each for module in builders for each in vars(module).values()]:
        if hasattr(function, "cache_clear"):
            function.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
def test_every_item_of_a_list_counts(kind: str) -> None:
    found = {case[0]: longer(kind, *case) for case in pairs(kind)}
    wrong = [
        v for path, v in found.items() if v.answer is not (Answer.SILENT if (kind, path) in FIRST_ONLY else Answer.ACTS)
    ]
    assert not wrong, "\n".join(map(str, wrong))
    assert found.keys() == {path for leaf in answered(kind, Answer.ACTS) for path in lists(leaf)}


@pytest.mark.parametrize("kind", KINDS)
def test_no_field_of_the_api_is_missed(kind: str, shared: Path) -> None:
    wanted = listed(json.loads((shared / "reference/api/fields.json").read_text()), kind)
    judged = {bare(v.path).removeprefix(f"{root_of(kind)}.") for v in verdicts(kind)}
    assert judged == wanted
    assert len(wanted) > 2


def listed(sheet: dict[str, Any], kind: str) -> set[str]:
    """The fields of a kind that hold no further message, by a list of the API that is not this project's."""
    fields = sheet["config" if kind == MESH else "crds"][kind]["fields"]
    paths = {bare(path) for path in fields}
    if kind == MESH:
        paths |= {f"defaultConfig.{bare(path)}" for path in sheet["config"]["ProxyConfig"]["fields"]}
    parents = {path.rsplit(".", up)[0] for path in paths for up in range(1, path.count(".") + 1)}
    return paths - parents


def bare(path: str) -> str:
    return path.replace("[]", "").replace("{}", "")
