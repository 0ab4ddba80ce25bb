"""Pods that come while a lab is up: what runs for them, and what is said about what cannot."""

from pathlib import Path
from typing import Any

import pytest

from tidegate.kit.errors import InvalidObjectError, TidegateError
from tidegate.lab import pods
from tidegate.lab.labfile import load
from tidegate.lab.objects import APP, PROXY, PROXY_CONTAINER, Life, container_state, pod_status
from tidegate.lab.plan import Member, make_plan
from tidegate.lab.spec import Image, LabSpec, Port, Sidecar, Workload
from tidegate.lab.state import Folders, Grown, State, read_state

Json = dict[str, Any]
SPEC = LabSpec("small", images={"registry.example/team/api": Image(("serve", "x"), {"A": "1"}, 7, {"f": "g"})})
MEMBER = Member("p.n", "tg-small-p.n", "p0", "10.244.0.9", 24)


def pod(labels: Json | None = None, annotations: Json | None = None, *, spec: Json | None = None, **more: Any) -> Json:
    container = {"name": "main", "image": "x:1", "command": ["run"], **more}
    meta = {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "5"}
    meta |= {"labels": labels or {}, "annotations": annotations or {}}
    return {"metadata": meta, "spec": {"containers": [container], "serviceAccountName": "sa", **(spec or {})}}


def workload(found: Json, **namespace: str) -> Workload:
    return pods.read(found, namespace, SPEC).workload


def refused(found: Json) -> str:
    with pytest.raises(TidegateError) as caught:
        pods.read(found, {}, SPEC)
    return str(caught.value)


def test_a_container_runs_with_what_it_says() -> None:
    env = [
        {"name": "A", "value": "1"},
        {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "EMPTY"},
    ]
    ports = [{"containerPort": 80, "name": "http"}, {"containerPort": 53, "protocol": "UDP"}]
    found = workload(pod({"app": "a"}, env=env, ports=ports, args=["-v"], securityContext={"runAsUser": 5}))
    assert (found.key, found.command, found.uid, found.service_account) == ("p.n", ("run", "-v"), 5, "sa")
    assert found.env == {"A": "1", "N": "n", "EMPTY": ""} and found.labels == {"app": "a"}
    assert found.ports == (Port(80, "http"), Port(53, "", "UDP"))


@pytest.mark.parametrize(
    "name",
    ["registry.example/team/api", "registry.example/team/api:1.2", "registry.example/team/api:1@sha256:ab"],
)
def test_an_image_that_the_lab_file_names_has_a_program(name: str) -> None:
    found = workload(pod(image=name, command=[], env=[{"name": "B", "value": "2"}]))
    assert (found.command, found.uid, found.files) == (("serve", "x"), 7, {"f": "g"})
    assert found.env == {"A": "1", "B": "2"}
    assert workload(pod(image=name, args=["y"])).command == ("run", "y")


def test_an_image_with_a_port_in_its_registry_is_not_cut_there() -> None:
    assert "image localhost:5000/api cannot run" in refused(pod(image="localhost:5000/api", command=[]))


@pytest.mark.parametrize(
    ("labels", "annotations", "namespace", "expected"),
    [
        ({}, {}, {}, Sidecar()),
        ({"sidecar.istio.io/inject": "false"}, {}, {}, None),
        ({}, {"sidecar.istio.io/inject": "false"}, {}, None),
        ({}, {}, {"istio-injection": "disabled"}, None),
        ({"sidecar.istio.io/inject": "true"}, {}, {"istio-injection": "disabled"}, Sidecar()),
        ({}, {"traffic.sidecar.istio.io/excludeOutboundPorts": "22"}, {}, Sidecar(exclude_outbound_ports="22")),
        ({}, {"sidecar.istio.io/interceptionMode": "TPROXY"}, {}, Sidecar(interception_mode="TPROXY")),
    ],
)
def test_the_sidecar(labels: Json, annotations: Json, namespace: dict[str, str], expected: Sidecar | None) -> None:
    assert pods.read(pod(labels, annotations), namespace, SPEC).workload.capture == expected


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (pod(command=[]), "give the container a command"),
        (pod(spec={"containers": [{"name": "a"}, {"name": "b"}]}), "Pods of one container, beside the sidecar"),
        (pod(spec={"containers": [{"name": "istio-proxy"}]}), "has none"),
        (pod(env=[{"name": "S", "valueFrom": {"secretKeyRef": {}}}]), "env S: a lab sets values and fieldRef"),
        (pod(securityContext={"runAsUser": 1337}), "expected another user"),
        (pod(ports=[{"containerPort": 80, "protocol": "SCTP"}]), "expected TCP or UDP"),
        (pod({}, {"traffic.sidecar.istio.io/excludeOutboundPorts": "ssh"}), "excludeOutboundPorts"),
        (pod({}, {"traffic.sidecar.istio.io/noSuchThing": "1"}), "noSuchThing"),
        (pod(spec={"hostAliases": [{"ip": "x"}]}), "expected an IP address"),
    ],
)
def test_what_cannot_run_is_told(found: Json, told: str) -> None:
    assert told in refused(found)


def test_what_is_left_out_is_told() -> None:
    found = pods.read(pod(resources={"limits": {}}, spec={"volumes": [{"name": "v"}]}), {}, SPEC)
    assert found.notes == ("not acted on by a lab: spec.volumes, container resources",)
    assert pods.read(pod(), {}, SPEC).notes == ()


@pytest.mark.parametrize(
    ("spec", "meta", "status", "here"),
    [
        ({}, {}, {}, True),
        ({"nodeName": "lab-small"}, {}, {"phase": "Running"}, True),
        ({"nodeName": "other"}, {}, {}, False),
        ({}, {"deletionTimestamp": "2026-01-01T00:00:00Z"}, {}, False),
        ({}, {}, {"phase": "Succeeded"}, False),
    ],
)
def test_which_pods_run_here(spec: Json, meta: Json, status: Json, here: bool) -> None:
    assert pods.runs_here({"metadata": meta, "spec": spec, "status": status}, "lab-small") is here


def test_a_pod_gets_its_node_and_its_sidecar_once() -> None:
    found = pod()
    bound = pods.bound(found, "lab-small", workload(found))
    assert [c["name"] for c in bound["spec"]["containers"]] == ["main", PROXY]
    assert (bound["spec"]["nodeName"], bound["metadata"]["resourceVersion"]) == ("lab-small", "5")
    again = {**found, "spec": {**found["spec"], **bound["spec"]}}
    assert pods.bound(again, "lab-small", workload(again))["spec"]["containers"].count(PROXY_CONTAINER) == 1


def test_a_status_has_the_containers_own_name() -> None:
    plan = make_plan(SPEC, "/")
    found = pod()
    status = pods.named(pod_status(plan, MEMBER, workload(found), ready=True), found)
    assert [(c["name"], c["image"], c["ready"]) for c in status["containerStatuses"]] == [
        ("main", "x:1", True),
        (PROXY, "lab", True),
    ]


@pytest.mark.parametrize(
    ("life", "phase", "state", "last"),
    [
        (Life(), "Running", {"running": {}}, {}),
        (Life(ended=True, code=0), "Succeeded", {"terminated": {"exitCode": 0, "reason": "Completed"}}, {}),
        (Life(ended=True, code=3), "Failed", {"terminated": {"exitCode": 3, "reason": "Error"}}, {}),
        (
            Life(2, ended=True, code=3, waiting="CrashLoopBackOff", message="m"),
            "Running",
            {"waiting": {"reason": "CrashLoopBackOff", "message": "m"}},
            {"terminated": {"exitCode": 3, "reason": "Error"}},
        ),
    ],
)
def test_what_became_of_a_program(life: Life, phase: str, state: Json, last: Json) -> None:
    assert container_state(life) == {"state": state, "lastState": last}
    status = pod_status(make_plan(SPEC, "/"), MEMBER, workload(pod()), ready=False, lives={APP: life})
    assert status["phase"] == phase
    assert [c["ready"] for c in status["containerStatuses"]] == [False, True]


def test_an_exit_that_nobody_saw_is_told_as_such() -> None:
    state = container_state(Life(1))["lastState"]["terminated"]
    assert (state["reason"], state["message"]) == ("ContainerStatusUnknown", "its exit code was not seen")


def test_images_of_a_lab_file_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(
        "name: small\nworkloads: [{name: a, command: [x], restartPolicy: Sometimes}]\n"
        "images: {web: {command: [''], uid: 1337, files: {../a: b}}}\n"
    )
    with pytest.raises(InvalidObjectError) as caught:
        load(file)
    assert {error.path for error in caught.value.errors} == {
        "workloads[0].restartPolicy",
        "images[web].command",
        "images[web].uid",
        "images[web].files",
    }


def test_a_labs_state_has_the_pods_that_came_later(tmp_path: Path) -> None:
    folder = Folders(tmp_path / "run", tmp_path / "state").lab("small")
    folder.path.mkdir(parents=True)
    State("small", "/run", "/lab.yaml", make_plan(SPEC, "/")).save(folder)
    Grown({"p.n": (workload(pod()), MEMBER)}, {}, {"p.n/app": 2}).save(folder)
    state = read_state(folder)
    assert state is not None and state.plan.proxies == ("p.n",) and state.restarts == {"p.n/app": 2}
    folder.grown_file.write_text("cut sho")
    state = read_state(folder)
    assert state is not None and state.plan.workloads == ()


GATEWAY = {"inject.istio.io/templates": "gateway"}


def test_a_pod_of_the_gateway_template_is_the_proxy_alone() -> None:
    made = pod({"app": "gw"}, GATEWAY)
    made["spec"]["containers"] = [{"name": PROXY, "image": "auto", "ports": [{"containerPort": 8080}]}]
    found = workload(made)
    assert (found.type, found.command, found.capture, found.proxied) == ("router", (), None, True)
    assert found.ports == (Port(8080),)
    assert pods.bound(made, "lab-small", found)["spec"]["containers"] == made["spec"]["containers"]
    status = pod_status(make_plan(SPEC, "/"), MEMBER, found, ready=True)
    (container,) = pods.named(status, made)["containerStatuses"]
    assert (container["name"], container["image"], container["ready"]) == (PROXY, "auto", True)


def test_a_gateway_has_no_program_beside_it() -> None:
    assert "expected one container, named istio-proxy" in refused(pod(None, GATEWAY))
