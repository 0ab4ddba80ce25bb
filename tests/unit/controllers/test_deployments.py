"""Rollouts, played through: a store of ReplicaSets whose Pods become ready, or do not, in any order."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.controllers import deployments, replicasets
from tidegate.controllers.deployments import HASH, REVISION, share, template_hash
from tidegate.controllers.owned import Workloads
from tidegate.controllers.plan import Action

Json = dict[str, Any]
NOW = "2026-01-01T00:00:00Z"


def template(version: str = "1") -> Json:
    return {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": f"i:{version}"}]}}


def deployment(replicas: int = 3, version: str = "1", **spec: Any) -> Json:
    body = {"replicas": replicas, "selector": {"matchLabels": {"app": "a"}}, "template": template(version), **spec}
    meta = {"name": "d", "namespace": "n", "uid": "u", "generation": 1}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": body}


class Cluster:
    """What a Deployment's plans come to: each ReplicaSet has the Pods that it wants at once, ready when we say so."""

    def __init__(self, wanted: Json) -> None:
        self.deployment, self.sets = wanted, dict[str, Json]()

    def step(self) -> list[Action]:
        actions = deployments.plan(self.deployment, list(self.sets.values()), NOW)
        for action in actions:
            obj = copy.deepcopy(action.object)
            if obj["kind"] == "Deployment":
                self.deployment = obj
            elif action.verb == "delete":
                del self.sets[obj["metadata"]["name"]]
            else:
                obj.setdefault("status", {})
                self.sets[obj["metadata"]["name"]] = obj
        for each in self.sets.values():
            wanted = each["spec"]["replicas"]
            each["status"]["replicas"] = wanted
            each["status"]["availableReplicas"] = min(each["status"].get("availableReplicas", 0), wanted)
        return actions

    def rest(self) -> None:
        """Until nothing more is planned."""
        for _ in range(100):
            if not self.step():
                return
        raise AssertionError("the plans never come to rest")

    def make_ready(self, index: int, count: int = 1) -> None:
        each = sorted(self.sets.values(), key=lambda rs: str(rs["metadata"]["name"]))[index % len(self.sets)]
        status = each["status"]
        status["availableReplicas"] = min(status.get("availableReplicas", 0) + count, each["spec"]["replicas"])

    def finish(self) -> None:
        """All Pods become ready, until nothing is left to do."""
        for _ in range(100):
            before = copy.deepcopy(self.sets)
            for index in range(len(self.sets)):
                self.make_ready(index, 100)
            self.rest()
            if before == self.sets:
                return
        raise AssertionError("the rollout does not end")

    def roll(self, version: str) -> None:
        self.deployment["spec"]["template"] = template(version)
        self.deployment["metadata"]["generation"] += 1

    def count(self, field: str = "replicas") -> int:
        return sum(int(each["status"].get(field, 0)) for each in self.sets.values())

    def images(self) -> dict[str, int]:
        return {
            each["spec"]["template"]["spec"]["containers"][0]["image"]: each["spec"]["replicas"]
            for each in self.sets.values()
        }


def cluster(replicas: int = 3, **spec: Any) -> Cluster:
    made = Cluster(deployment(replicas, **spec))
    made.finish()
    return made


def test_the_first_revision() -> None:
    made = cluster()
    (found,) = made.sets.values()
    meta, hashed = found["metadata"], template_hash(template())
    assert (meta["name"], meta["annotations"][REVISION]) == (f"d-{hashed}", "1")
    assert found["spec"]["selector"] == {"matchLabels": {"app": "a", HASH: hashed}}
    assert found["spec"]["template"]["metadata"]["labels"] == {"app": "a", HASH: hashed}
    assert made.deployment["metadata"]["annotations"][REVISION] == "1"
    status = made.deployment["status"]
    assert (status["replicas"], status["updatedReplicas"], status["availableReplicas"]) == (3, 3, 3)
    assert {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]} == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }


@given(
    replicas=st.integers(1, 12),
    surge=st.integers(0, 4),
    unavailable=st.integers(0, 4),
    ready=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), max_size=30),
)
def test_a_rollout_stays_within_its_limits_and_ends(
    replicas: int, surge: int, unavailable: int, ready: list[tuple[int, int]]
) -> None:
    limits = {"maxSurge": surge, "maxUnavailable": unavailable}
    made = cluster(replicas, strategy={"type": "RollingUpdate", "rollingUpdate": limits})
    made.roll("2")
    least = replicas - (min(unavailable, replicas) if surge or min(unavailable, replicas) else 1)

    def within() -> None:
        assert made.count() <= replicas + surge
        assert made.count("availableReplicas") >= least

    for index, count in ready:
        made.step()
        within()
        made.make_ready(index, count)
    made.finish()
    within()
    assert made.images() == {"i:1": 0, "i:2": replicas}


def test_pods_that_never_become_ready_keep_a_rollout_from_going_on() -> None:
    made = cluster(4)
    made.roll("bad")
    made.rest()
    assert made.images() == {"i:1": 3, "i:bad": 2} and made.count("availableReplicas") == 3
    made.roll("3")
    made.finish()
    assert made.images() == {"i:1": 0, "i:bad": 0, "i:3": 4}


def test_going_back_makes_the_old_replica_set_the_newest_revision() -> None:
    made = cluster()
    made.roll("2")
    made.finish()
    made.roll("1")
    made.finish()
    revisions = {
        each["spec"]["template"]["spec"]["containers"][0]["image"]: each["metadata"]["annotations"][REVISION]
        for each in made.sets.values()
    }
    assert revisions == {"i:1": "3", "i:2": "2"} and made.images() == {"i:1": 3, "i:2": 0}


def test_what_kubectl_writes_when_it_rolls_back_is_the_same_template() -> None:
    back = template()
    back["metadata"]["creationTimestamp"] = None
    back["spec"]["containers"][0]["resources"] = {}
    assert template_hash(back) == template_hash(template()) != template_hash(template("2"))


def test_recreate_ends_all_old_pods_before_the_first_new_one() -> None:
    made = cluster(3, strategy={"type": "Recreate"})
    made.roll("2")
    made.step()
    assert made.images() == {"i:1": 0}
    made.finish()
    assert made.images() == {"i:1": 0, "i:2": 3}


def test_the_history_has_an_end() -> None:
    made = cluster(1, revisionHistoryLimit=2)
    for version in "23456":
        made.roll(version)
        made.finish()
    assert made.images() == {"i:4": 0, "i:5": 0, "i:6": 1}


def test_a_paused_deployment_scales_and_does_not_roll() -> None:
    made = cluster(2)
    made.deployment["spec"]["paused"] = True
    made.roll("2")
    made.deployment["spec"]["replicas"] = 5
    made.rest()
    assert set(made.images()) == {"i:1"}
    made.deployment["spec"]["paused"] = False
    made.finish()
    assert made.images() == {"i:1": 0, "i:2": 5}


def test_conditions_keep_their_times_while_nothing_changes() -> None:
    made = cluster()
    before = made.deployment["status"]["conditions"]
    assert deployments.plan(made.deployment, list(made.sets.values()), "2027-01-01T00:00:00Z") == []
    assert before[0]["lastTransitionTime"] == NOW


def test_nothing_is_planned_for_what_is_being_deleted() -> None:
    gone = deployment()
    gone["metadata"]["deletionTimestamp"] = NOW
    assert deployments.plan(gone, [], NOW) == []


@pytest.mark.parametrize(
    ("value", "of", "up", "expected"),
    [("25%", 10, True, 3), ("25%", 10, False, 2), (2, 10, True, 2), ("0%", 10, True, 0), ("100%", 3, False, 3)],
)
def test_shares(value: Any, of: int, up: bool, expected: int) -> None:
    assert share(value, of, up=up) == expected


# ReplicaSets


def replica_set(replicas: int = 2) -> Json:
    meta = {"name": "r", "namespace": "n", "uid": "ru", "generation": 4, "resourceVersion": "1"}
    body = {"replicas": replicas, "template": template()}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta, "spec": body}


def pod(name: str, *, ready: bool = False, created: str = NOW, **more: Any) -> Json:
    reference = replicasets.owner_reference(replica_set())
    meta = {"name": name, "namespace": "n", "uid": name, "labels": {"app": "a"}, "creationTimestamp": created, **more}
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    return {"kind": "Pod", "metadata": {**meta, "ownerReferences": [reference]}, "spec": {}, "status": status}


def test_missing_pods_are_made_from_the_template() -> None:
    first, second, status = replicasets.plan(replica_set(), [])
    assert first == second and (first.verb, status.verb) == ("create", "status")
    made = first.object
    assert (made["metadata"]["generateName"], made["metadata"]["labels"]) == ("r-", {"app": "a"})
    assert made["metadata"]["ownerReferences"][0]["uid"] == "ru" and made["spec"] == template()["spec"]


def test_of_too_many_the_youngest_that_is_not_ready_goes() -> None:
    pods = [pod("old"), pod("ready", ready=True), pod("young", created="2026-01-02T00:00:00Z")]
    gone = [a.object["metadata"]["name"] for a in replicasets.plan(replica_set(2), pods) if a.verb == "delete"]
    assert gone == ["young"]
    gone = [a.object["metadata"]["name"] for a in replicasets.plan(replica_set(1), pods) if a.verb == "delete"]
    assert gone == ["young", "old"]


def test_pods_that_ended_or_leave_do_not_count() -> None:
    ended = pod("a")
    ended["status"]["phase"] = "Failed"
    actions = replicasets.plan(replica_set(), [ended, pod("b", deletionTimestamp=NOW), pod("c", ready=True)])
    assert [a.verb for a in actions] == ["create", "status"]
    assert actions[1].object["status"] == {
        "replicas": 1,
        "fullyLabeledReplicas": 1,
        "readyReplicas": 1,
        "availableReplicas": 1,
        "observedGeneration": 4,
    }


# What the controllers know


def seen(obj: Json, version: int) -> Json:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


def test_a_pod_of_ones_own_is_known_before_the_watch_tells() -> None:
    known = Workloads(lambda: NOW)
    known.put("ReplicaSet", seen(replica_set(1), 1))
    create, *_ = known.plan(("ReplicaSet", "n", "r"))
    assert known.wrote(create, seen(pod("a", ready=True), 5)) == {("ReplicaSet", "n", "r")}
    assert [a.verb for a in known.plan(("ReplicaSet", "n", "r"))] == ["status"]
    assert known.put("Pod", seen(pod("a"), 4)) == set()  # older than what is known
    (status,) = known.plan(("ReplicaSet", "n", "r"))
    assert status.object["status"]["readyReplicas"] == 1


def test_a_pod_that_was_deleted_here_does_not_come_back_with_a_late_event() -> None:
    known = Workloads(lambda: NOW)
    known.put("ReplicaSet", seen(replica_set(0), 1))
    known.put("Pod", seen(pod("a"), 2))
    delete, _ = known.plan(("ReplicaSet", "n", "r"))
    assert known.wrote(delete, None) == {("ReplicaSet", "n", "r")}
    assert known.put("Pod", seen(pod("a", ready=True), 3)) == set()
    known.drop("Pod", ("n", "a"))
    again = seen(pod("a"), 9)
    again["metadata"]["uid"] = "another"
    assert known.put("Pod", again) == {("ReplicaSet", "n", "r")}


def test_pods_without_a_replica_set_are_nobodys_concern() -> None:
    known = Workloads(lambda: NOW)
    alone = pod("a")
    del alone["metadata"]["ownerReferences"]
    assert known.put("Pod", alone) == set() and known.drop("Pod", ("n", "a")) == set()
    assert known.plan(("ReplicaSet", "n", "r")) == []
