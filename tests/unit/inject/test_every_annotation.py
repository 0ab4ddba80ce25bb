"""Each annotation and label that Istio has changes a pod or a workload, or its author is told that it does not."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.worlds import pod as pod_object
from tests.worlds import world
from tidegate.inject import advice
from tidegate.inject.annotations import CHECKS
from tidegate.inject.pod import inject
from tidegate.inject.settings import Json, settings
from tidegate.inject.workloads import Workload

WEB = Workload("apps/v1", "Deployment", "web", "shop")
TRAFFIC, SIDECAR, READINESS = "traffic.sidecar.istio.io/", "sidecar.istio.io/", "readiness.status.sidecar.istio.io/"
MOUNTED = {f"{SIDECAR}userVolume": '{"own":{"emptyDir":{}}}'}

ACTING: dict[str, str] = {
    f"{SIDECAR}interceptionMode": "TPROXY",
    f"{TRAFFIC}includeOutboundIPRanges": "10.0.0.0/8",
    f"{TRAFFIC}excludeOutboundIPRanges": "10.0.0.0/8",
    f"{TRAFFIC}includeInboundPorts": "8080",
    f"{TRAFFIC}excludeInboundPorts": "8080",
    f"{TRAFFIC}includeOutboundPorts": "8080",
    f"{TRAFFIC}excludeOutboundPorts": "8080",
    f"{TRAFFIC}excludeInterfaces": "net1",
    f"{TRAFFIC}kubevirtInterfaces": "net1",
    "istio.io/reroute-virtual-interfaces": "net1",
    "inject.istio.io/templates": "gateway",
    "proxy.istio.io/config": "proxyMetadata: {A: b}",
    "proxy.istio.io/overrides": '{"containers":[{"name":"istio-proxy","env":[{"name":"OWN","value":"x"}]}]}',
    f"{SIDECAR}nativeSidecar": "false",
    "kubectl.kubernetes.io/default-container": "other",
    "kubectl.kubernetes.io/default-logs-container": "other",
    "prometheus.istio.io/merge-metrics": "false",
    "prometheus.istio.io/scrape-targets": "8080:/metrics",
    "prometheus.io/scrape": "true",
    "prometheus.io/port": "8080",
    "prometheus.io/path": "/own",
    f"{SIDECAR}proxyImage": "example.com/own:v1",
    f"{SIDECAR}proxyImageType": "distroless",
    f"{SIDECAR}proxyCPU": "7m",
    f"{SIDECAR}proxyMemory": "7Mi",
    f"{SIDECAR}proxyCPULimit": "7m",
    f"{SIDECAR}proxyMemoryLimit": "7Mi",
    f"{SIDECAR}logLevel": "debug",
    f"{SIDECAR}componentLogLevel": "http:debug",
    f"{SIDECAR}agentLogLevel": "default:debug",
    f"{SIDECAR}bootstrapOverride": "own",
    f"{SIDECAR}userVolume": '{"own":{"emptyDir":{}}}',
    f"{SIDECAR}userVolumeMount": '{"own":{"mountPath":"/own"}}',
    f"{SIDECAR}capNetBindService": "true",
    f"{SIDECAR}rewriteAppHTTPProbers": "false",
    "status.sidecar.istio.io/port": "15099",
    f"{READINESS}initialDelaySeconds": "7",
    f"{READINESS}periodSeconds": "7",
    f"{READINESS}failureThreshold": "7",
}
"""Annotations that change the pod, with a value that does."""

READ_IN_THE_POD = {f"{SIDECAR}discoveryAddress", f"{SIDECAR}inject", f"{SIDECAR}status", "istio.io/rev"}
"""Annotations that the agent reads, that decide whether a pod is injected, or that injection writes."""

LABELS_OF_PODS: dict[str, str] = {
    "service.istio.io/canonical-name": "own",
    "service.istio.io/canonical-revision": "own",
    "service.istio.io/workload-name": "own",
    "security.istio.io/tlsMode": "disabled",
    "topology.istio.io/network": "own",
}
"""Labels that change what is injected."""

LABELS_OF_WORKLOADS: dict[str, str] = {
    "topology.istio.io/locality": "a.b.c",
    "istio-locality": "a.b.c",
    "topology.istio.io/network": "own",
}
"""Labels that change what discovery makes of the Pod."""

OF_ENDPOINTS = {"istio.io/draining"}
"""Labels that change what discovery makes of its endpoints."""

LEFT = re.compile(
    r"networking\.istio\.io/tunnel|topology\.istio\.io/cluster|galley\.istio\.io/.*|istio\.io/VisibilityApplied"
    r"|(.*\.)?kubernetes\.io/.*|gateway\.networking\.k8s\.io/.*"
)
"""Ambient's and the control plane's own, conditions, what analysis alone reads, and what Kubernetes defines."""


def made(annotations: Json, labels: Json | None = None) -> tuple[Json, tuple[str, ...]]:
    probe = {"httpGet": {"path": "/", "port": 8080}}
    app = {"name": "app", "image": "app", "ports": [{"containerPort": 8080}], "readinessProbe": probe}
    meta = {"labels": {"app": "web", **(labels or {})}, "annotations": annotations}
    found = inject({"metadata": meta, "spec": {"containers": [app]}}, WEB, settings())
    return found.pod, found.warnings


def without(pod: Json, part: str, *names: str) -> Json:
    meta = pod["metadata"]
    return {**pod, "metadata": {**meta, part: {k: v for k, v in meta[part].items() if k not in names}}}


@pytest.mark.parametrize(("name", "value"), ACTING.items())
def test_an_annotation_that_acts_changes_the_pod(name: str, value: str) -> None:
    around = {k: v for k, v in MOUNTED.items() if name == f"{SIDECAR}userVolumeMount"}
    if name.startswith("prometheus.io/") and not name.endswith("scrape"):
        around = {"prometheus.io/scrape": "true"}
    before, _ = made(around)
    after, told = made({**around, name: value})
    own = name if not name.startswith(("kubectl", "prometheus.io")) else ""
    assert without(after, "annotations", own) != without(before, "annotations", own)
    assert not [each for each in told if "not acted on" in each or "unknown" in each]


@pytest.mark.parametrize(("name", "value"), LABELS_OF_PODS.items())
def test_a_label_that_acts_changes_the_pod(name: str, value: str) -> None:
    before, _ = made({})
    after, told = made({}, {name: value})
    env = [next(c for c in p["spec"]["initContainers"] if c["name"] == "istio-proxy")["env"] for p in (before, after)]
    assert env[0] != env[1] or after["metadata"]["labels"][name] == value != before["metadata"]["labels"].get(name)
    assert not told


@pytest.mark.parametrize(("name", "value"), LABELS_OF_WORKLOADS.items())
def test_a_label_that_discovery_reads_changes_the_workload(name: str, value: str) -> None:
    assert seen({}) != seen({name: value})
    assert not made({}, {name: value})[1]


def seen(labels: dict[str, str]) -> Any:
    """What the registry makes of the Pod, its labels apart."""
    found = world(pod_object("shop/web", "10.1.0.1", {"app": "web", **labels}))
    (workload,) = found.workloads.values()
    return msgspec.structs.replace(workload, labels=())


@pytest.mark.parametrize("name", advice.UNACTED)
def test_an_annotation_that_changes_nothing_warns(name: str) -> None:
    before, _ = made({})
    after, told = made({name: "15020"})
    assert without(after, "annotations", name) == before
    assert any(f"[{name}]: not acted on" in each for each in told)


@pytest.mark.parametrize("name", advice.ELSEWHERE)
def test_what_is_for_other_objects_is_told_on_a_pod(name: str) -> None:
    for told in (made({name: "x"})[1], made({}, {name: "x"})[1]):
        assert any(f"[{name}]: it is for {advice.ELSEWHERE[name]} and does nothing on a pod" in each for each in told)


@pytest.mark.parametrize(
    ("annotations", "labels", "expected"),
    [
        ({"sidecar.istio.io/logLevl": "x"}, {}, "unknown annotation; did you mean sidecar.istio.io/logLevel?"),
        ({"sidecar.istio.io/nothing-like-it": "x"}, {}, "unknown annotation"),
        ({}, {"sidecar.istio.io/injct": "true"}, "unknown label; did you mean sidecar.istio.io/inject?"),
        ({}, {f"{SIDECAR}logLevel": "debug"}, "as a label it does nothing; it is an annotation"),
        ({"security.istio.io/tlsMode": "istio"}, {}, "as an annotation it does nothing; it is a label"),
        ({}, {"istio-injection": "enabled"}, "the pod's own choice is the label sidecar.istio.io/inject"),
    ],
)
def test_a_name_in_the_wrong_place_is_told(annotations: Json, labels: Json, expected: str) -> None:
    (told,) = made(annotations, labels)[1]
    assert told.endswith(expected)


def test_names_that_others_write_are_nobodys_mistake() -> None:
    assert not made({"internal.istio.io/parents": "x", "example.com/own": "x"}, {"istio.io/dataplane-mode": "none"})[1]


def test_every_annotation_that_is_checked_has_a_case() -> None:
    assert set(CHECKS) == {n for n in ACTING if "istio.io/" in n} | set(advice.UNACTED) | READ_IN_THE_POD


def test_every_name_that_istio_has_is_one_of_these(shared: Path) -> None:
    known = {
        *ACTING,
        *READ_IN_THE_POD,
        *LABELS_OF_PODS,
        *LABELS_OF_WORKLOADS,
        *OF_ENDPOINTS,
        *advice.UNACTED,
        *advice.ELSEWHERE,
    }
    found = set(names_in((shared / "reference" / "annotations.md").read_text()))
    assert len(found) > 100
    untold = {name for name in found - known if not LEFT.fullmatch(name) and not name.startswith(advice.INSTALLED)}
    assert not untold


def names_in(text: str) -> list[str]:
    """The names in the first column of the tables; later ones of a cell leave out the prefix of the first."""
    out: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|") or line.startswith(("|---", "| Name", "| Label")):
            continue
        prefix = ""
        for part in re.split(r"[,;](?![^{]*\})", line.split("|")[1]):
            word = re.sub(r"\(.*?\)", "", part).replace(" V", "").strip(" *`")
            for name in _expanded(word) if word else ():
                prefix = name.rpartition("/")[0] + "/" if _has_prefix(name) else prefix
                plain = name if _has_prefix(name) or name.startswith("istio-") else prefix + name
                out += _alternatives(plain)
    return out


def _has_prefix(name: str) -> bool:
    return ".io/" in name


def _expanded(text: str) -> list[str]:
    match = re.search(r"\{([^}]*)\}", text)
    if match is None:
        return [text]
    return [
        e for word in match[1].split(",") for e in _expanded(text[: match.start()] + word.strip() + text[match.end() :])
    ]


def _alternatives(name: str) -> list[str]:
    """``a/statsInclusionPrefixes/Suffixes`` is two names with one beginning."""
    first, *others = name.partition(".io/")[2].split("/")
    head = re.sub(r"[A-Z][a-z]+$", "", first)
    prefix = name.partition(".io/")[0] + ".io/" if ".io/" in name else ""
    return [name] if not others else [prefix + first, *(prefix + head + each for each in others)]
