"""Deployments as kubectl works with them, against both backends. Nothing runs the Pods here: none becomes ready."""

import contextlib
import json
from typing import Any

import pytest

from tidegate.store.client import KubeStore
from tidegate.store.model import StoreError

Json = dict[str, Any]


def deployment(ns: str, **spec: Any) -> Json:
    container = {"name": "web", "image": "web:1", "ports": [{"containerPort": 8000}]}
    body = {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        **spec,
    }
    meta = {"name": "web", "namespace": ns, "labels": {"tier": "front"}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": body}


class Desk:
    """kubectl in one namespace."""

    def __init__(self, kubectl: Any, api: KubeStore, ns: str, eventually: Any) -> None:
        self._kubectl, self._api, self.ns, self._eventually = kubectl, api, ns, eventually

    def __call__(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        return str(self._kubectl("-n", self.ns, *arguments, stdin=stdin, code=code))

    def apply(self, obj: Json, code: int = 0) -> str:
        return self("apply", "-f", "-", stdin=json.dumps(obj), code=code)

    def get(self, *what: str) -> Any:
        return json.loads(self("get", *what, "-o", "json"))

    def items(self, kind: str) -> list[Json]:
        found: list[Json] = self.get(kind)["items"]
        return found

    async def until(self, look: Any, *wanted: Any) -> None:
        async def seen() -> bool:
            return look() == wanted[0] if wanted else bool(look())

        await self._eventually(seen)

    def counts(self) -> list[tuple[str, int, int]]:
        """Image, wanted and present replicas of each ReplicaSet, the oldest first."""
        found = sorted(self.items("rs"), key=lambda rs: int(rs["metadata"]["annotations"][REVISION]))
        return [(image(rs), rs["spec"]["replicas"], rs["status"]["replicas"]) for rs in found]

    async def make_ready(self) -> None:
        """Say that every Pod runs, as a kubelet would."""
        for pod in self.items("pods"):
            status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            with contextlib.suppress(StoreError):  # one that has just gone
                await self._api.patch(
                    "Pod",
                    self.ns,
                    pod["metadata"]["name"],
                    {"status": status},
                    content_type="application/merge-patch+json",
                    subresource="status",
                )


REVISION = "deployment.kubernetes.io/revision"


def image(obj: Json) -> str:
    return str(obj["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.fixture
def desk(kubectl: Any, api: KubeStore, ns: str, eventually: Any) -> Desk:
    return Desk(kubectl, api, ns, eventually)


async def test_a_deployment_has_a_replica_set_and_that_has_pods(desk: Desk) -> None:
    assert "deployment.apps/web created" in desk.apply(deployment(desk.ns))
    assert "deployment.apps/web unchanged" in desk.apply(deployment(desk.ns))
    await desk.until(lambda: len(desk.items("pods")), 2)
    made, (replica_set,) = desk.get("deploy", "web"), desk.items("rs")
    owner = replica_set["metadata"]["ownerReferences"]
    assert [(o["kind"], o["uid"], o["controller"]) for o in owner] == [("Deployment", made["metadata"]["uid"], True)]
    hashed = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert replica_set["metadata"]["name"] == f"web-{hashed}"
    assert replica_set["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": hashed}
    for pod in desk.items("pods"):
        meta = pod["metadata"]
        assert meta["name"].startswith(f"web-{hashed}-") and len(meta["name"]) == len(f"web-{hashed}-") + 5
        assert meta["labels"] == {"app": "web", "pod-template-hash": hashed}
        assert [o["uid"] for o in meta["ownerReferences"]] == [replica_set["metadata"]["uid"]]
        assert pod["spec"]["serviceAccountName"] == "default"


async def test_tables(desk: Desk) -> None:
    desk.apply(deployment(desk.ns))
    await desk.until(lambda: desk("get", "deploy", "web", "--no-headers").split()[1:4], ["0/2", "2", "0"])
    heads = [line.split() for line in desk("get", "deploy", "-o", "wide").splitlines()]
    assert heads[0] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    assert heads[1][5:] == ["web", "web:1", "app=web"]
    shown = desk("get", "rs").splitlines()
    assert shown[0].split() == ["NAME", "DESIRED", "CURRENT", "READY", "AGE"]
    assert shown[1].split()[1:4] == ["2", "2", "0"]
    assert {line.partition("/")[0] for line in desk("get", "all", "-o", "name").split()} == {
        "deployment.apps",
        "replicaset.apps",
        "pod",
    }
    assert "2 desired | 2 updated | 2 total | 0 available | 2 unavailable" in desk("describe", "deploy", "web")


async def test_scale(desk: Desk) -> None:
    desk.apply(deployment(desk.ns))
    await desk.until(lambda: len(desk.items("pods")), 2)
    assert "deployment.apps/web scaled" in desk("scale", "deploy", "web", "--replicas=3")
    await desk.until(lambda: len(desk.items("pods")), 3)
    assert "scaled" in desk("scale", "deploy", "web", "--current-replicas=3", "--replicas=1")
    await desk.until(lambda: len(desk.items("pods")), 1)
    assert "expected" in desk("scale", "deploy", "web", "--current-replicas=3", "--replicas=5", code=1).lower()
    path = f"/apis/apps/v1/namespaces/{desk.ns}/deployments/web/scale"
    found = json.loads(desk("get", "--raw", path))
    assert (found["kind"], found["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert (found["spec"], found["status"]["selector"]) == ({"replicas": 1}, "app=web")
    assert desk.get("deploy", "web")["metadata"]["generation"] == 3
    owners = desk("get", "deploy", "web", "-o", "json", "--show-managed-fields")
    assert "scale" in {each.get("subresource") for each in json.loads(owners)["metadata"]["managedFields"]}


async def test_a_scale_that_is_out_of_date_or_negative_is_refused(desk: Desk, api: Any) -> None:
    desk.apply(deployment(desk.ns))
    path = f"/apis/apps/v1/namespaces/{desk.ns}/deployments/web/scale"
    meta = {"name": "web", "namespace": desk.ns}
    scale: Json = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": meta}
    answer = await api.request("PUT", path, {**scale, "spec": {"replicas": -1}})
    assert answer.code == 422 and b"spec.replicas" in answer.body
    stale = {**scale, "metadata": {**meta, "resourceVersion": "1"}, "spec": {"replicas": 1}}
    assert (await api.request("PUT", path, stale)).code == 409
    assert (await api.request("GET", path.replace("/web/", "/none/"))).code == 404
    assert (await api.request("DELETE", path)).code == 405


async def test_what_was_deleted_comes_again(desk: Desk) -> None:
    desk.apply(deployment(desk.ns))
    await desk.until(lambda: len(desk.items("pods")), 2)
    gone = desk.items("pods")[0]["metadata"]["name"]
    desk("delete", "pod", gone, "--grace-period=0", "--force")
    names = lambda: {pod["metadata"]["name"] for pod in desk.items("pods")}  # noqa: E731
    await desk.until(lambda: len(names()) == 2 and gone not in names())


async def test_a_rollout_keeps_enough_pods_and_ends_with_the_new_ones(desk: Desk) -> None:
    desk.apply(deployment(desk.ns, replicas=4))
    await desk.until(lambda: len(desk.items("pods")), 4)
    await desk.make_ready()
    assert "successfully rolled out" in desk("rollout", "status", "deploy/web", "--timeout=60s")
    desk("set", "image", "deploy/web", "web=web:2")
    await desk.until(desk.counts, [("web:1", 3, 3), ("web:2", 2, 2)])
    status = desk.get("deploy", "web")["status"]
    assert (status["replicas"], status["updatedReplicas"], status["availableReplicas"]) == (5, 2, 3)
    while desk.counts() != [("web:1", 0, 0), ("web:2", 4, 4)]:
        await desk.make_ready()
        assert sum(present for _, _, present in desk.counts()) <= 5
    await desk.make_ready()
    assert "successfully rolled out" in desk("rollout", "status", "deploy/web", "--timeout=60s")
    assert desk("wait", "--for=condition=Available", "deploy/web", "--timeout=60s")


async def test_restart_and_undo(desk: Desk) -> None:
    desk.apply(deployment(desk.ns, replicas=1))
    await desk.until(lambda: len(desk.items("pods")), 1)
    assert "deployment.apps/web restarted" in desk("rollout", "restart", "deploy/web")
    await desk.until(lambda: [wanted for _, wanted, _ in desk.counts()], [1, 1])
    assert len(desk("rollout", "history", "deploy/web").split("REVISION")[1].strip().splitlines()) == 3
    assert "rolled back" in desk("rollout", "undo", "deploy/web")

    def revisions() -> list[str]:
        return sorted(rs["metadata"]["annotations"][REVISION] for rs in desk.items("rs"))

    await desk.until(lambda: desk.get("deploy", "web")["metadata"]["annotations"].get(REVISION), "3")
    assert revisions() == ["2", "3"]


async def test_recreate_ends_the_old_pods_first(desk: Desk) -> None:
    desk.apply(deployment(desk.ns, strategy={"type": "Recreate"}))
    await desk.until(lambda: len(desk.items("pods")), 2)
    old = {pod["metadata"]["name"] for pod in desk.items("pods")}
    desk("set", "image", "deploy/web", "web=web:2")
    if desk("version", "-o", "json").count("tidegate"):  # elsewhere Pods wait for the kubelet that they do not have
        await desk.until(desk.counts, [("web:1", 0, 0), ("web:2", 2, 2)])
        assert not old & {pod["metadata"]["name"] for pod in desk.items("pods")}


async def test_a_paused_deployment_waits(desk: Desk) -> None:
    desk.apply(deployment(desk.ns, replicas=1))
    await desk.until(lambda: len(desk.items("pods")), 1)
    desk("rollout", "pause", "deploy/web")
    desk("set", "image", "deploy/web", "web=web:2")
    await desk.until(lambda: desk.get("deploy", "web")["status"]["observedGeneration"], 3)
    assert [made for made, _, _ in desk.counts()] == ["web:1"]
    desk("rollout", "resume", "deploy/web")
    await desk.until(lambda: [made for made, _, _ in desk.counts()], ["web:1", "web:2"])


async def test_all_goes_with_the_deployment(desk: Desk) -> None:
    desk.apply(deployment(desk.ns))
    await desk.until(lambda: len(desk.items("pods")), 2)
    assert 'deployment.apps "web" deleted' in desk("delete", "deploy", "web", "--wait=false")
    await desk.until(lambda: desk.items("rs") == [] and not [p for p in desk.items("pods") if _stays(p)])


def _stays(pod: Json) -> bool:
    return "deletionTimestamp" not in pod["metadata"]


async def test_create_deployment(desk: Desk) -> None:
    arguments = ("create", "deployment", "two", "--image=web:1", "--replicas=0", "--port=80")
    assert "created" in desk(*arguments, "--", "sleep", "infinity")
    spec = desk.get("deploy", "two")["spec"]
    assert (spec["replicas"], spec["selector"]) == (0, {"matchLabels": {"app": "two"}})
    container = spec["template"]["spec"]["containers"][0]
    assert (container["command"], container["ports"]) == (
        ["sleep", "infinity"],
        [{"containerPort": 80, "protocol": "TCP"}],
    )


def test_server_side_apply_owns_containers_one_by_one(desk: Desk) -> None:
    first = deployment(desk.ns)
    desk("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=json.dumps(first))
    env = [{"name": "web", "env": [{"name": "A", "value": "1"}]}]
    meta = {"name": "web", "namespace": desk.ns}
    part = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta}
    part["spec"] = {"template": {"spec": {"containers": env}}}
    desk("apply", "--server-side", "--field-manager=two", "-f", "-", stdin=json.dumps(part))
    container = desk.get("deploy", "web")["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["env"]) == ("web:1", [{"name": "A", "value": "1"}])


BAD: list[tuple[Json, str]] = [
    ({"selector": None}, "spec.selector"),
    ({"selector": {}}, "spec.selector"),
    ({"selector": {"matchLabels": {"app": "other"}}}, "spec.template.metadata.labels"),
    ({"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}, "operator"),
    ({"replicas": -1}, "spec.replicas"),
    ({"template": {"metadata": {"labels": {"app": "web"}}}}, "spec.template.spec.containers"),
    ({"strategy": {"type": "Blue"}}, "spec.strategy"),
    ({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}, "spec.strategy.rollingUpdate"),
    ({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}, "maxUnavailable"),
    ({"strategy": {"rollingUpdate": {"maxSurge": "many"}}}, "maxSurge"),
    ({"noSuchField": 1}, 'unknown field "spec.noSuchField"'),
    ({"template": {"spec": {"containres": []}}}, 'unknown field "spec.template.spec.containres"'),
]


@pytest.mark.parametrize(("spec", "told"), BAD, ids=[str(number) for number in range(len(BAD))])
def test_bad_input_is_told(desk: Desk, spec: Json, told: str) -> None:
    assert told in desk.apply(deployment(desk.ns, **spec), code=1)


def test_the_selector_stays(desk: Desk) -> None:
    labels = {"app": "web", "tier": "a"}
    pod = deployment(desk.ns)["spec"]["template"]["spec"]
    desk.apply(deployment(desk.ns, template={"metadata": {"labels": labels}, "spec": pod}))
    changed = {"selector": {"matchLabels": {"tier": "a"}}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    assert "spec.selector" in desk.apply(deployment(desk.ns, **changed), code=1)


def test_a_pod_of_a_deployment_must_be_started_again_always(desk: Desk) -> None:
    template = deployment(desk.ns)["spec"]["template"]
    template["spec"]["restartPolicy"] = "Never"
    told = desk.apply(deployment(desk.ns, template=template), code=1)
    assert "restartPolicy" in told and "Always" in told


def test_a_kind_that_is_not_served(desk: Desk) -> None:
    other = {"apiVersion": "example.com/v1", "kind": "StatefulThing", "metadata": {"name": "a", "namespace": desk.ns}}
    told = desk.apply(other, code=1)
    assert 'no matches for kind "StatefulThing" in version "example.com/v1"' in told
