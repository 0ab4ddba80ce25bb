"""EnvoyFilters and Telemetry on real sidecars: a patch acts, a bad one harms nothing else, a namespace logs errors."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.labs import NEEDS, Lab, Probe, running_lab, until

pytestmark = NEEDS

CLIENT = "client.front"
WEB = "http://web.shop:8000/"
OUTSIDE = "http://www.site.example:8000/"
MANAGER = "envoy.filters.network.http_connection_manager"
LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab() as made:
        yield made


@pytest.fixture
def client(lab: Lab) -> Probe:
    return lab.probe(CLIENT)


def envoy_filter(name: str, value: dict[str, Any]) -> str:
    """An EnvoyFilter that puts an HTTP filter first on the client's way out."""
    match = {"context": "SIDECAR_OUTBOUND", "listener": {"filterChain": {"filter": {"name": MANAGER}}}}
    change = {"applyTo": "HTTP_FILTER", "match": match, "patch": {"operation": "INSERT_FIRST", "value": value}}
    return json.dumps(
        {
            "apiVersion": "networking.istio.io/v1alpha3",
            "kind": "EnvoyFilter",
            "metadata": {"name": name, "namespace": "front"},
            "spec": {"configPatches": [change]},
        }
    )


def lua(name: str, code: str) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": LUA, "default_source_code": {"inline_string": code}}}


def test_a_filter_that_an_envoyfilter_inserts_acts_and_goes(lab: Lab, client: Probe) -> None:
    code = "function envoy_on_response(handle) handle:headers():add('x-patched', 'yes') end"
    assert "x-patched" not in client.get(WEB)["headers"]
    with lab.applied(envoy_filter("marking", lua("marking", code))):
        until(lambda: client.get(WEB)["headers"].get("x-patched"), lambda seen: seen == "yes")
    until(lambda: "x-patched" not in client.get(WEB)["headers"])


def test_a_filter_that_is_discovered_by_name_acts(lab: Lab, client: Probe) -> None:
    code = "function envoy_on_response(handle) handle:headers():add('x-discovered', 'yes') end"
    source = {"config_source": {"ads": {}, "initial_fetch_timeout": "0s"}, "type_urls": [LUA]}
    found = json.loads(envoy_filter("discovered", {"name": "named", "config_discovery": source}))
    extension = {"applyTo": "EXTENSION_CONFIG", "patch": {"operation": "ADD", "value": lua("named", code)}}
    found["spec"]["configPatches"].append(extension)
    with lab.applied(json.dumps(found)):
        until(lambda: client.get(WEB)["headers"].get("x-discovered"), lambda seen: seen == "yes")
    until(lambda: "x-discovered" not in client.get(WEB)["headers"])


def test_a_patch_that_envoy_refuses_is_told_and_harms_nothing_else(lab: Lab, client: Probe) -> None:
    with lab.applied(envoy_filter("broken", lua("broken", "this is not Lua ("))):
        until(lambda: json.dumps(lab.debug("/debug/syncz")), lambda text: "broken" in text)
        assert client.get(WEB)["status"] == 200, "what was accepted before stands"
    until(lab.synced)


def test_a_value_that_is_no_envoy_message_is_refused_with_its_path(lab: Lab) -> None:
    broken = envoy_filter("wrong", {"name": "x", "typed_config": {"@type": LUA, "stat_prefix": 3}})
    answer = lab.kubectl("apply", "-f", "-", stdin=broken)
    assert answer.returncode != 0
    assert "spec.configPatches[0].patch.value.typed_config.stat_prefix" in answer.stderr


def test_a_patch_that_matches_nothing_is_a_problem_of_its_object(lab: Lab) -> None:
    manifest = envoy_filter("idle", lua("idle", "")).replace(MANAGER, "absent.filter")
    with lab.applied(manifest):
        found = until(lambda: lab.debug("/debug/registryz")["problems"])
        (problem,) = [each for each in found if each["object"] == "EnvoyFilter/front/idle"]
        assert "does nothing for the proxies that it selects" in problem["reasons"][0]


def test_a_namespace_logs_only_errors(lab: Lab, client: Probe) -> None:
    telemetry = {
        "apiVersion": "telemetry.istio.io/v1",
        "kind": "Telemetry",
        "metadata": {"name": "errors", "namespace": "front"},
        "spec": {
            "accessLogging": [{"providers": [{"name": "envoy"}], "filter": {"expression": "response.code >= 400"}}]
        },
    }

    failing = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "failing", "namespace": "shop"},
        "spec": {
            "hosts": ["web.shop.svc.cluster.local"],
            "http": [
                {"match": [{"uri": {"prefix": "/bad"}}], "directResponse": {"status": 503}},
                {"route": [{"destination": {"host": "web.shop.svc.cluster.local"}}]},
            ],
        },
    }

    def ask(path: str) -> str:
        request = str(uuid.uuid4())
        client.get(f"{WEB}{path}", x_request_id=request)
        return request

    with lab.applied(json.dumps(failing)), lab.applied(json.dumps(telemetry)):
        until(lambda: client.get(f"{WEB}bad")["status"], lambda status: status == 503)
        until(lambda: "extension_filters.cel" in lab.agent(CLIENT, "/envoy/config_dump").decode())
        until(lambda: _quiet(lab, ask))
        good, bad = ask(""), ask("bad")
        assert len(lab.logged(CLIENT, bad)) == 1
        assert not [line for line in lab.log(CLIENT) if good in line]
    until(lambda: lab.logged(CLIENT, ask("")))


def _quiet(lab: Lab, ask: Any) -> bool:
    """A good request leaves no line before a bad one's that came after it."""
    good, bad = ask(""), ask("bad")
    lab.logged(CLIENT, bad)
    return not [line for line in lab.log(CLIENT) if good in line]
