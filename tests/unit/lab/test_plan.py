"""Names and addresses of what has to exist, and what is written into its files and its store."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.kit.errors import TidegateError
from tidegate.lab import inspect, objects, settle
from tidegate.lab.plan import make_plan
from tidegate.lab.spec import Command, Dns, Host, HostAlias, LabSpec, Network, Port, Sidecar, Workload


def workload(name: str, **further: object) -> Workload:
    return Workload(name=name, command=("sleep", "1"), **further)  # type: ignore[arg-type]


SPEC = LabSpec(
    name="small",
    workloads=(workload("a"), workload("b", namespace="entry", address="10.244.0.2")),
    hosts=(Host("web", "10.1.1.1", (Command("http", ("x",)), Command("tcp", ("y",))), ("a.example",)),),
    dns=Dns("10.1.1.53", {"b.example": ("10.1.1.9",)}),
)
PLAN = make_plan(SPEC, "/labs")


def test_namespaces_are_the_labs_own() -> None:
    expected = {"tg-small-net", "tg-small-a.default", "tg-small-b.entry", "tg-small-web", "tg-small-dns"}
    assert set(PLAN.namespaces) == expected


def test_addresses_that_were_asked_for_are_not_given_to_others() -> None:
    assert {member.key: member.address for member in PLAN.members} == {
        "a.default": "10.244.0.3",
        "b.entry": "10.244.0.2",
        "web": "10.1.1.1",
        "dns": "10.1.1.53",
    }


@given(st.integers(1, 40), st.sets(st.integers(2, 62), max_size=20))
def test_addresses_differ_and_are_within_the_network(count: int, taken: set[int]) -> None:
    fixed = [workload(f"f{n}", address=f"10.9.0.{n}") for n in sorted(taken)][: 61 - count]
    free = [workload(f"w{n}") for n in range(count)]
    plan = make_plan(LabSpec("x", Network("10.9.0.0/26"), workloads=(*free, *fixed)), "/")
    addresses = [ipaddress.ip_address(member.address) for _, member in plan.workloads]
    network = ipaddress.ip_network("10.9.0.0/26")
    assert len(set(addresses)) == len(addresses)
    assert set(addresses) <= set(network.hosts()) - {network[1]}


def test_links_have_names_that_the_kernel_takes() -> None:
    links = [member.link for member in PLAN.members]
    assert len(set(links)) == len(links) and all(len(link) <= 15 for link in links)


def test_outside_names() -> None:
    assert PLAN.outside_records == {"a.example": ("10.1.1.1",), "b.example": ("10.1.1.9",)}


def test_resolv_conf_searches_the_workloads_namespace() -> None:
    text = settle.resolv_conf(PLAN, PLAN.workloads[1][1])
    assert text.splitlines() == [
        "nameserver 10.244.0.1",
        "search entry.svc.cluster.local svc.cluster.local cluster.local",
        "options ndots:5",
    ]
    assert settle.resolv_conf(PLAN, PLAN.hosts[0][2]) == "nameserver 10.1.1.53\n"


def test_hosts_file_holds_the_aliases() -> None:
    text = settle.hosts_file(PLAN.workloads[0][1], (HostAlias("172.29.1.201", ("x.example", "x")),))
    assert "172.29.1.201 x.example x" in text.splitlines()
    assert "10.244.0.3 a" in text.splitlines()


def test_a_member_is_found_by_its_name_if_only_one_has_it() -> None:
    assert inspect.find_member(PLAN, "a").key == "a.default"
    assert inspect.find_member(PLAN, "b.entry").key == "b.entry"
    assert inspect.find_member(PLAN, "web").key == "web"
    with pytest.raises(TidegateError, match=r"no workload c; expected one of a\.default, b\.entry, web, dns"):
        inspect.find_member(PLAN, "c")
    twice = make_plan(LabSpec("x", workloads=(workload("a"), workload("a", namespace="n"))), "/")
    with pytest.raises(TidegateError, match=r"several workloads; expected one of a\.default, a\.n"):
        inspect.find_member(twice, "a")


def test_programs_of_hosts_have_names_of_their_own() -> None:
    assert inspect.programs(PLAN, PLAN.hosts[0][2]) == ["web/http", "web/tcp"]


def test_pod() -> None:
    spec = workload("a", labels={"app": "a"}, ports=(Port(80, "http"),), sidecar=Sidecar(exclude_outbound_ports="22"))
    pod = objects.pod(PLAN, spec)
    assert pod["metadata"]["labels"] == {"app": "a"}
    assert pod["metadata"]["annotations"] == {"traffic.sidecar.istio.io/excludeOutboundPorts": "22"}
    assert [container["name"] for container in pod["spec"]["containers"]] == ["app", "istio-proxy"]
    assert pod["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP", "name": "http"}]
    assert pod["spec"]["nodeName"] == "lab-small"


def test_a_pod_without_sidecar_has_one_container() -> None:
    pod = objects.pod(PLAN, workload("a", sidecar=False))
    assert [container["name"] for container in pod["spec"]["containers"]] == ["app"]


@pytest.mark.parametrize("ready", [True, False])
def test_pod_status(ready: bool) -> None:
    status = objects.pod_status(PLAN, PLAN.workloads[0][1], PLAN.workloads[0][0], ready=ready)
    assert status["phase"] == "Running" and status["podIP"] == "10.244.0.3"
    conditions = {condition["type"]: condition["status"] for condition in status["conditions"]}
    assert conditions["Ready"] == str(ready)


def test_capture_arguments_follow_the_settings() -> None:
    found = objects.capture_arguments(Sidecar("10.0.0.0/8", "10.1.0.0/16", "80", "81", "90", "91"))
    options = dict(zip(found[::2], found[1::2], strict=True))
    assert options["-i"] == "10.0.0.0/8" and options["-x"] == "10.1.0.0/16"
    assert options["-b"] == "80" and options["-d"] == "15090,15021,15020,81"
    assert options["-q"] == "90" and options["-o"] == "91"
    assert options["-u"] == options["-g"] == "1337"


def test_the_pod_of_a_gateway_has_the_proxy_alone() -> None:
    spec = LabSpec("small", workloads=(Workload("gw", type="router", ports=(Port(8080, "http"),)),))
    plan = make_plan(spec, "/")
    found, member = plan.workloads[0]
    (container,) = objects.pod(plan, found)["spec"]["containers"]
    assert container["name"] == objects.PROXY
    assert {port["containerPort"] for port in container["ports"]} == {15090, 8080}
    (status,) = objects.pod_status(plan, member, found, ready=True)["containerStatuses"]
    assert (status["name"], status["ready"]) == (objects.PROXY, True)
    assert plan.proxies == ("gw.default",)
