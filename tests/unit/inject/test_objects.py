"""Whole objects, decisions, and admission reviews."""

import base64
import json
from typing import Any

import pytest

from tidegate.inject import ranges
from tidegate.inject.decide import decide, selects
from tidegate.inject.errors import InjectionError
from tidegate.inject.objects import inject_object
from tidegate.inject.review import API, NotAReviewError, answer, decoded, patch
from tidegate.inject.settings import Json, from_installation, merged, parse_set, settings
from tidegate.inject.webhookconfig import configuration
from tidegate.inject.workloads import owner_of, pod_of
from tidegate.kit.errors import TidegateError

POD_SPEC: Json = {"containers": [{"name": "app", "image": "app"}]}


def workload(kind: str, **meta: Any) -> Json:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": POD_SPEC}
    spec = {"jobTemplate": {"spec": {"template": template}}} if kind == "CronJob" else {"template": template}
    found = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "web", "namespace": "shop", **meta}}
    return {**found, **({"spec": POD_SPEC} if kind == "Pod" else {"spec": spec})}


@pytest.mark.parametrize(
    "kind",
    [
        "Pod",
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "ReplicaSet",
        "ReplicationController",
        "Job",
        "CronJob",
        "DeploymentConfig",
    ],
)
def test_every_kind_that_brings_pods_gets_the_sidecar_in_its_pod(kind: str) -> None:
    made = inject_object(workload(kind), settings())
    found = pod_of(made.object)
    assert made.injected == 1
    assert found is not None
    assert "sidecar.istio.io/status" in found.pod["metadata"]["annotations"]
    owner = next(
        e for c in found.pod["spec"]["initContainers"] for e in c.get("env", ()) if e["name"] == "ISTIO_META_OWNER"
    )
    assert owner["value"].endswith(f"/namespaces/shop/{kind.lower()}s/web")


def test_a_list_is_injected_item_by_item_and_other_objects_stay() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {}}
    given = {"apiVersion": "v1", "kind": "List", "items": [workload("Deployment"), service]}
    made = inject_object(given, settings())
    assert made.injected == 1
    assert made.object["items"][1] == service


def test_a_second_injection_says_that_nothing_was_changed() -> None:
    once = inject_object(workload("Deployment"), settings()).object
    again = inject_object(once, settings())
    assert again.object == once
    assert again.reasons == ('Deployment "shop/web" has its sidecar already; nothing was changed',)


@pytest.mark.parametrize("spec", ["pod", 3, None, []])
def test_a_pods_spec_must_be_one(spec: Any) -> None:
    with pytest.raises(InjectionError, match="spec: expected a mapping"):
        inject_object({"kind": "Pod", "metadata": {"name": "web"}, "spec": spec}, settings())


@pytest.mark.parametrize(
    ("labels", "annotations", "values", "expected"),
    [
        ({}, {}, {}, True),
        ({"sidecar.istio.io/inject": "false"}, {}, {}, False),
        ({"sidecar.istio.io/inject": "true"}, {"sidecar.istio.io/inject": "false"}, {}, True),
        ({}, {"sidecar.istio.io/inject": "false"}, {}, False),
        ({"sidecar.istio.io/inject": ""}, {"sidecar.istio.io/inject": "false"}, {}, True),
        ({"sidecar.istio.io/inject": "no"}, {}, {}, True),
        ({"sidecar.istio.io/inject": "yes"}, {}, {"global": {"proxy": {"autoInject": "disabled"}}}, False),
        ({}, {}, {"global": {"proxy": {"autoInject": "disabled"}}}, False),
        ({"sidecar.istio.io/inject": "true"}, {}, {"global": {"proxy": {"autoInject": "disabled"}}}, True),
        ({"job": "x"}, {}, {"sidecarInjectorWebhook": {"neverInjectSelector": [{"matchLabels": {"job": "x"}}]}}, False),
    ],
)
def test_who_decides(labels: Json, annotations: Json, values: Json, expected: bool) -> None:
    found = decide(
        {"metadata": {"labels": labels, "annotations": annotations}, "spec": POD_SPEC}, "shop", settings(values)
    )
    assert found.injects is expected
    assert found.reason


def test_always_selector_wins_over_a_disabled_policy() -> None:
    hook = {"alwaysInjectSelector": [{"matchExpressions": [{"key": "app", "operator": "Exists"}]}]}
    made = settings({"global": {"proxy": {"autoInject": "disabled"}}, "sidecarInjectorWebhook": hook})
    assert decide({"metadata": {"labels": {"app": "x"}}, "spec": {}}, "shop", made).injects


@pytest.mark.parametrize(
    ("spec", "namespace", "said"),
    [({"hostNetwork": True}, "shop", "host networking"), ({}, "kube-system", "kube-system")],
)
def test_pods_that_never_get_one_say_why(spec: Json, namespace: str, said: str) -> None:
    found = decide({"spec": spec}, namespace, settings())
    assert not found.injects
    assert said in found.reason


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"key": "a", "operator": "In", "values": ["1"]}, True),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, False),
        ({"key": "b", "operator": "NotIn", "values": ["1"]}, True),
        ({"key": "b", "operator": "Exists"}, False),
        ({"key": "b", "operator": "DoesNotExist"}, True),
        ({"key": "a", "operator": "Sometimes"}, False),
    ],
)
def test_selectors(rule: Json, expected: bool) -> None:
    assert selects({"matchExpressions": [rule]}, {"a": "1"}) is expected


@pytest.mark.parametrize(
    ("owner", "labels", "expected"),
    [
        ({"kind": "ReplicaSet", "name": "web-abc"}, {"pod-template-hash": "abc"}, ("Deployment", "web")),
        ({"kind": "ReplicaSet", "name": "web-abc"}, {}, ("ReplicaSet", "web-abc")),
        ({"kind": "Job", "name": "sweep-28123456"}, {}, ("CronJob", "sweep")),
        ({"kind": "Job", "name": "sweep"}, {}, ("Job", "sweep")),
        ({"kind": "ReplicationController", "name": "web-1"}, {"deploymentconfig": "web"}, ("DeploymentConfig", "web")),
    ],
)
def test_a_pods_workload(owner: Json, labels: Json, expected: tuple[str, str]) -> None:
    meta = {"labels": labels, "ownerReferences": [{"apiVersion": "apps/v1", "controller": True, **owner}]}
    found = owner_of({"metadata": meta}, "shop")
    assert (found.kind, found.name) == expected


# Reviews


def review(pod: Any, kind: str = "Pod") -> Json:
    request = {"uid": "u1", "kind": {"kind": kind}, "namespace": "shop", "object": pod}
    return {"apiVersion": API, "kind": "AdmissionReview", "request": request}


def applied(pod: Any, operations: list[Json]) -> Any:
    """RFC 6902, as far as the webhook's patches go."""
    out = json.loads(json.dumps(pod))
    for each in operations:
        *path, last = (word.replace("~1", "/").replace("~0", "~") for word in each["path"].split("/")[1:])
        where = out
        for word in path:
            where = where[word]
        if each["op"] == "remove":
            del where[last]
        else:
            assert (last in where) is (each["op"] == "replace")
            where[last] = each["value"]
    return out


def test_the_patch_makes_the_injected_pod() -> None:
    pod = {"metadata": {"generateName": "web-"}, "spec": POD_SPEC}
    made = answer(review(pod), settings())
    response = made.review["response"]
    assert (response["uid"], response["allowed"], response["patchType"]) == ("u1", True, "JSONPatch")
    assert applied(pod, json.loads(base64.b64decode(response["patch"]))) == made.pod


def test_patches_reach_keys_with_slashes_and_remove() -> None:
    old, new = {"a/b": 1, "c~d": {"x": 1, "y": 2}}, {"a/b": 2, "c~d": {"y": 2}, "e": []}
    assert applied(old, patch(old, new)) == new


def test_a_pod_that_wants_none_is_let_pass_unchanged() -> None:
    made = answer(review({"metadata": {}, "spec": {**POD_SPEC, "hostNetwork": True}}), settings())
    assert made.review["response"] == {"uid": "u1", "allowed": True}
    assert "host networking" in made.reason


def test_a_refused_pod_is_told_why_and_warnings_come_along() -> None:
    bad = {"metadata": {"annotations": {"sidecar.istio.io/interceptionMode": "X"}}, "spec": POD_SPEC}
    response = answer(review(bad), settings()).review["response"]
    assert not response["allowed"]
    assert "expected REDIRECT, TPROXY or NONE" in response["status"]["message"]
    near = {"metadata": {"annotations": {"sidecar.istio.io/proxyCpu": "1"}}, "spec": POD_SPEC}
    assert "did you mean" in answer(review(near), settings()).review["response"]["warnings"][0]


@pytest.mark.parametrize(
    ("pod", "kind"), [(None, "Pod"), ("x", "Pod"), ({"spec": 1}, "Pod"), ({"spec": {}}, "Service")]
)
def test_what_is_no_pod_is_denied(pod: Any, kind: str) -> None:
    response = answer(review(pod, kind), settings()).review["response"]
    assert not response["allowed"]
    assert "expected" in response["status"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"kind": "Pod"}',
        b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1"}',
        b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {}}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_what_is_no_review_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(NotAReviewError, match="expected"):
        decoded(body)


# Settings


def test_assignments_are_helms() -> None:
    assert parse_set(("a.b=1,a.c=x", "d=true", "e=1.2.3.4/8,5.6.7.8/8", "f=x\\,y=z")) == {
        "a": {"b": 1, "c": "x"},
        "d": True,
        "e": "1.2.3.4/8,5.6.7.8/8",
        "f": "x,y=z",
    }


@pytest.mark.parametrize("text", ["a", "=x", "a..b=1"])
def test_what_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(TidegateError, match=r"expected name\.name=value"):
        parse_set((text,))


def test_values_of_an_operator_file() -> None:
    operator = {
        "kind": "IstioOperator",
        "spec": {"values": {"global": {"hub": "x"}}, "components": {"cni": {"enabled": True}}},
    }
    assert from_installation(operator, "f") == {"global": {"hub": "x"}, "pilot": {"cni": {"enabled": True}}}
    with pytest.raises(TidegateError, match="expected a mapping"):
        from_installation({"kind": "IstioOperator", "spec": {"values": []}}, "f")


def test_null_takes_a_default_away() -> None:
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}) == {"a": {"c": 2}}


# Ranges and registered services


def test_registered_services_outside_what_is_captured_are_named() -> None:
    services = ranges.service_addresses(
        [
            {"kind": "Service", "metadata": {"name": "db", "namespace": "shop"}, "spec": {"clusterIP": "10.96.0.7"}},
            {"kind": "Service", "metadata": {"name": "headless"}, "spec": {"clusterIP": "None"}},
        ]
    )
    prefix = "traffic.sidecar.istio.io/"
    excluded = list(ranges.warnings({prefix + "excludeOutboundIPRanges": "10.96.0.0/16"}, services))
    outside = list(ranges.warnings({prefix + "includeOutboundIPRanges": "192.0.2.0/24"}, services))
    assert "db.shop" in excluded[0]
    assert "db.shop" in outside[0]
    assert list(ranges.warnings({prefix + "includeOutboundIPRanges": "10.0.0.0/8"}, services)) == []


# The manifest


def _sent(made: Json, namespace: Json, labels: Json) -> list[str]:
    return [
        hook["name"]
        for hook in made["webhooks"]
        if selects(hook["namespaceSelector"], namespace) and selects(hook["objectSelector"], labels)
    ]


@pytest.mark.parametrize(
    ("namespace", "labels", "expected"),
    [
        ({"istio-injection": "enabled"}, {}, 1),
        ({"istio-injection": "enabled"}, {"sidecar.istio.io/inject": "false"}, 0),
        ({"istio-injection": "enabled", "istio.io/rev": "default"}, {}, 1),
        ({"istio-injection": "disabled", "istio.io/rev": "default"}, {"sidecar.istio.io/inject": "true"}, 0),
        ({"istio.io/rev": "default"}, {}, 1),
        ({"istio.io/rev": "canary"}, {"sidecar.istio.io/inject": "true"}, 0),
        ({}, {}, 0),
        ({}, {"sidecar.istio.io/inject": "true"}, 1),
        ({}, {"istio.io/rev": "default"}, 1),
        ({}, {"istio.io/rev": "default", "sidecar.istio.io/inject": "true"}, 1),
    ],
)
def test_a_pod_is_sent_to_one_webhook_or_none(namespace: Json, labels: Json, expected: int) -> None:
    made = configuration("default", b"ca", service="tidegate-webhook")
    assert len(_sent(made, namespace, labels)) == expected


def test_a_revision_has_a_webhook_of_its_own() -> None:
    made = configuration("canary", b"ca", url="https://192.0.2.1:15017/")
    assert made["metadata"]["name"] == "istio-sidecar-injector-canary"
    assert made["webhooks"][0]["clientConfig"]["url"] == "https://192.0.2.1:15017/inject"
    assert len(_sent(made, {"istio.io/rev": "canary"}, {})) == 1
    assert _sent(made, {"istio-injection": "enabled"}, {}) == []


def test_namespaces_that_say_nothing_can_be_taken_in_but_not_the_clusters_own() -> None:
    made = configuration("default", b"ca", service="x", every=True)
    assert len(_sent(made, {"kubernetes.io/metadata.name": "shop"}, {})) == 1
    assert _sent(made, {"kubernetes.io/metadata.name": "kube-system"}, {}) == []


class TestAdvice:
    def test_a_list_of_one_kind_is_injected_item_by_item(self) -> None:
        item = {k: v for k, v in workload("Deployment").items() if k not in ("kind", "apiVersion")}
        made = inject_object({"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [item]}, settings())
        assert made.injected == 1 and "kind" not in made.object["items"][0]

    def test_a_kind_that_is_not_known_and_brings_pods_is_told(self) -> None:
        made = inject_object(workload("CloneSet"), settings())
        assert made.object == workload("CloneSet") and not made.injected
        assert made.reasons[0].startswith('CloneSet "shop/web" was left as it is')

    def test_what_acts_on_pods_alone_is_told_on_their_workload(self) -> None:
        given = {"annotations": {"sidecar.istio.io/logLevel": "debug"}, "labels": {"sidecar.istio.io/inject": "false"}}
        made = inject_object(workload("Deployment", **given), settings())
        assert made.injected == 1 and len(made.warnings) == 2
        assert all("it belongs to the metadata of its pod template" in each for each in made.warnings)
        assert not inject_object(workload("Pod", annotations=given["annotations"]), settings()).warnings

    def test_a_container_that_the_rules_take_for_the_proxy_is_told(self) -> None:
        given = workload("Pod")
        given["spec"] = {**POD_SPEC, "securityContext": {"runAsUser": 1337}}
        (told,) = inject_object(given, settings()).warnings
        assert "spec.containers[0].securityContext.runAsUser: app runs as user 1337, which is the proxy's" in told

    def test_a_port_that_is_the_proxys_own_is_told(self) -> None:
        given = workload("Pod")
        given["spec"] = {"containers": [{"name": "app", "image": "app", "ports": [{"containerPort": 15001}]}]}
        (told,) = inject_object(given, settings()).warnings
        assert told.endswith("spec.containers[0].ports: port 15001 is the proxy's own; expected another")


class TestInstallation:
    """Values that change where the proxy finds what it trusts, and what it may do."""

    def proxy(self, **values: Any) -> tuple[Json, Json]:
        found = pod_of(inject_object(workload("Deployment"), settings(merged({}, values))).object)
        assert found is not None
        return found.pod["spec"], next(c for c in found.pod["spec"]["initContainers"] if c["name"] == "istio-proxy")

    def volume(self, name: str, **values: Any) -> Json:
        spec, _ = self.proxy(**values)
        return next(each for each in spec["volumes"] if each["name"] == name)

    def test_roots_come_from_the_map_that_is_named(self) -> None:
        named = self.volume("istiod-ca-cert", **{"global": {"trustBundleName": "own-roots"}})
        assert named["configMap"]["name"] == "own-roots"

    def test_or_from_a_bundle_of_the_cluster(self) -> None:
        made = self.volume("istiod-ca-cert", pilot={"env": {"ENABLE_CLUSTER_TRUST_BUNDLE_API": True}})
        (source,) = made["projected"]["sources"]
        assert source["clusterTrustBundle"] == {"name": "istio.io:istiod-ca:root-cert", "path": "root-cert.pem"}

    def test_lists_of_revoked_certificates(self) -> None:
        assert self.volume("istio-ca-crl", pilot={"crlConfigMapName": "own"})["configMap"]["name"] == "own"
        _, proxy = self.proxy(**{"global": {"pilotCertProvider": "kubernetes"}})
        assert not [m for m in proxy["volumeMounts"] if m["name"] == "istio-ca-crl"]

    def test_low_ports_for_all(self) -> None:
        _, proxy = self.proxy(**{"global": {"proxy": {"capNetBindService": True}}})
        assert proxy["securityContext"]["capabilities"]["add"] == ["NET_BIND_SERVICE"]
        assert proxy["securityContext"]["runAsUser"] == 0
