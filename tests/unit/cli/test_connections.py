"""``tidegate connections``: choice of rows, names, notes, completion; the kernel's part is the lab tests'."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from tidegate.capture import connections as join
from tidegate.capture import conntrack, deciding, inforce
from tidegate.capture.kernel import CaptureError
from tidegate.cli import connections as command
from tidegate.cli import labs
from tidegate.lab.labfile import load
from tidegate.lab.plan import make_plan
from tidegate.lab.state import Folders, Owner, State, lock
from tidegate.rules.capture_rules import rule_set
from tidegate.rules.options import ALL, CaptureOptions, Surroundings

LAB = """
name: few
hosts:
- {name: redis, address: 10.0.0.6, commands: [{name: a, command: [sleep, "1"], ports: [7000]}]}
workloads:
- {name: client, namespace: front, command: [sleep, infinity], address: 10.244.0.2}
- {name: web, namespace: shop, command: [sleep, infinity], address: 10.244.0.3}
"""
TABLE = (
    "ipv4 2 tcp 6 110 TIME_WAIT src=10.244.0.2 dst=10.0.0.6 sport=50498 dport=7000 "
    "src=127.0.0.1 dst=10.244.0.2 sport=15001 dport=50498 [ASSURED] use=2\n"
    "ipv4 2 tcp 6 100 ESTABLISHED src=10.244.0.2 dst=10.0.0.6 sport=5 dport=7001 "
    "src=10.0.0.6 dst=10.244.0.2 sport=7001 dport=5 [ASSURED] use=2\n"
)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    file = tmp_path / "lab.yaml"
    file.write_text(LAB)
    folders = Folders(tmp_path / "run", tmp_path / "state")
    folder = folders.lab("few")
    folder.path.mkdir(parents=True)
    State("few", str(folders.run), str(file), make_plan(load(file), str(tmp_path))).save(folder)
    with lock(folders) as held:
        held.write(Owner("few", str(folders.state)))
    seen = join.Observed(tuple(conntrack.parse(TABLE)), ())
    nothing = join.Observed((), ())
    monkeypatch.setattr(join, "observe", lambda kernel, _: seen if kernel.netns == "tg-few-client.front" else nothing)
    rules = rule_set(CaptureOptions(service_cidr=ALL, local_outbound_ports_exclude=("7001",)), Surroundings())
    monkeypatch.setattr(inforce, "in_force", lambda _: {"ipv4": rules})
    monkeypatch.setattr(deciding, "routes", lambda _: lambda p: msgspec.structs.replace(p, out_interface="eth0"))
    return ["--run-dir", str(folders.run), "--state-dir", str(folders.state)]


def run(*arguments: str) -> str:
    done = CliRunner().invoke(command.connections, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_table_names_members_and_explains_what_calls_for_a_look(places: list[str]) -> None:
    lines = run(*places).splitlines()
    assert lines[0].split()[:3] == ["WORKLOAD", "DIRECTION", "PROCESS"]
    assert lines[1].split("  ")[-3].strip() == "blocked"
    assert lines[1].rstrip().endswith("nat ISTIO_OUTPUT rule 11  everything else goes to Envoy")
    assert lines[2].rstrip().endswith("nat ISTIO_OUTPUT rule 1   tcp to port 7001 is excluded")
    assert "10.0.0.6:7000 (redis)" in lines[1]
    assert "`tidegate logs client.front --explain`" in lines[3]
    assert lines[4].startswith("bypassed: no leg")


def test_rows_are_chosen(places: list[str]) -> None:
    found = json.loads(run(*places, "--verdict", "blocked", "-o", "json"))
    assert [(row["workload"], row["destination"]) for row in found] == [("client.front", "10.0.0.6:7000")]
    assert [row["state"] for row in json.loads(run(*places, "--port", "7001", "-o", "json"))] == ["ESTABLISHED"]
    assert json.loads(run(*places, "client", "-n", "front", "-o", "json"))
    assert json.loads(run(*places, "-n", "shop", "-o", "json")) == []
    assert run(*places, "web.shop") == "No connections.\n"


def test_names_of_members_complete(places: list[str]) -> None:
    from click import Context

    context = Context(command.connections)
    context.params = {"run_dir": Path(places[1]), "state_dir": Path(places[3])}
    parameter = command.connections.params[0]
    assert labs.complete_member(context, parameter, "") == ["client.front", "redis", "web.shop"]
    assert labs.complete_member(context, parameter, "cl") == ["client.front"]
    context.params = {"run_dir": Path(places[1]) / "none", "state_dir": None}
    assert labs.complete_member(context, parameter, "") == []


def test_why_is_told_and_what_cannot_be_read_is_said(places: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = {row["destination"]: row for row in json.loads(run(*places, "-o", "json"))}
    assert found["10.0.0.6:7001"]["rule"] == "nat ISTIO_OUTPUT rule 1"
    assert found["10.0.0.6:7001"]["because"] == "tcp to port 7001 is excluded"

    def refused(_: object) -> object:
        raise CaptureError("no iptables here")

    monkeypatch.setattr(inforce, "in_force", refused)
    assert "which rules decide is not known: no iptables here" in run(*places)
