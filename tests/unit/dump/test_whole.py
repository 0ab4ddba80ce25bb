"""Bootstrap versions, extensions and the whole dump."""

import datetime
import json
from typing import Any

import pytest

from tidegate.dump import commands
from tidegate.dump.read import DumpError, parse
from tidegate.dump.whole import Filters

ADMIN = "type.googleapis.com/envoy.admin.v3."
NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
BUILD = {
    "version": {"major_number": 1, "minor_number": 40},
    "metadata": {
        "revision.sha": "9e55",
        "revision.status": "Clean",
        "build.type": "RELEASE",
        "ssl.version": "BoringSSL",
    },
}
ENVOY = "Envoy Version:       1.40.0/Clean/RELEASE/BoringSSL\n"


def dump(**sections: Any) -> bytes:
    return json.dumps({"configs": [{"@type": ADMIN + name, **body} for name, body in sections.items()]}).encode()


def bootstrap(**node: Any) -> bytes:
    return dump(BootstrapConfigDump={"bootstrap": {"node": node}})


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (
            {"metadata": {"ISTIO_VERSION": "0.1.0"}, "user_agent_build_version": BUILD},
            f"Istio Version:       0.1.0\nIstio Proxy Version: 9e55\n{ENVOY}",
        ),
        (
            {"metadata": {"ISTIO_PROXY_SHA": "istio-proxy:77"}, "user_agent_build_version": BUILD},
            f"Istio Proxy Version: 77\n{ENVOY}",
        ),
        ({}, "Envoy Version:       0.0.0\n"),
    ],
)
def test_versions(node: dict[str, Any], text: str) -> None:
    assert commands.bootstrap(parse(bootstrap(**node)), "short") == text


def test_the_metadata_of_a_node_is_data_and_kept() -> None:
    text = commands.bootstrap(
        parse(bootstrap(metadata={"platform_metadata": {"a_b": 1}}, user_agent_name="envoy")), "json"
    )
    assert json.loads(text) == {
        "bootstrap": {"node": {"metadata": {"platform_metadata": {"a_b": 1}}, "userAgentName": "envoy"}}
    }


def test_extensions_by_type_then_name() -> None:
    def entry(name: str, kind: str = "") -> dict[str, Any]:
        config = {"typed_config": {"@type": f"type.googleapis.com/{kind}"}} if kind else {}
        return {"ecds_filter": {"name": name, **config}}

    text = dump(EcdsConfigDump={"ecds_filters": [entry("b", "x.Wasm"), entry("c"), entry("a", "x.Wasm")]})
    lines = commands.ecds(parse(text), "short").splitlines()
    assert [line.split() for line in lines] == [["ECDS", "NAME", "TYPE"], ["c"], ["a", "x.Wasm"], ["b", "x.Wasm"]]


def test_parts_of_one_section_are_joined() -> None:
    part = {"@type": ADMIN + "EcdsConfigDump", "ecds_filters": [{"ecds_filter": {"name": "a"}}]}
    text = commands.ecds(parse(json.dumps({"configs": [part, part]}).encode()), "json")
    assert json.loads(text) == {"ecdsFilters": [{"ecdsFilter": {"name": "a"}}] * 2}


@pytest.mark.parametrize("ask", ["bootstrap", "ecds"])
def test_a_section_that_is_absent_is_an_error(ask: str) -> None:
    with pytest.raises(DumpError, match="config dump has no configuration type"):
        getattr(commands, ask)(parse(dump()), "short")


def whole() -> bytes:
    cluster = {"name": "outbound|80|v1|a.example", "type": "EDS"}
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}}}}
    listener = {"name": "one", "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}}}
    secret = {"name": "s", "secret": {"tls_certificate": {"private_key": {"inline_string": "hush"}}}}
    return dump(
        BootstrapConfigDump={"bootstrap": {}},
        ClustersConfigDump={"static_clusters": [{"cluster": {"name": "agent"}}, {"cluster": cluster}]},
        ListenersConfigDump={"static_listeners": [{"listener": listener}]},
        RoutesConfigDump={"static_route_configs": [{"route_config": {"name": "80", "virtual_hosts": [{"name": "v"}]}}]},
        SecretsConfigDump={"static_secrets": [secret]},
        EndpointsConfigDump={
            "static_endpoint_configs": [
                {"endpoint_config": {"cluster_name": "agent", "endpoints": [{"lb_endpoints": [endpoint]}]}}
            ]
        },
    )


def cells(verbose: bool = True) -> dict[str, list[list[str]]]:
    parts = commands.everything(whole(), "short", Filters(verbose=verbose), NOW)
    return {title: [line.split() for line in text.splitlines()[1:]] for title, text in parts}


def test_every_row_says_what_it_is_a_part_of() -> None:
    found = cells()
    assert found["CLUSTER INFO"] == [
        ["cluster/outbound|80|v1|a.example", "a.example", "80", "v1", "outbound", "EDS"],
        ["cluster/agent", "cluster/agent", "-", "-", "-", "STATIC"],
    ]
    assert found["LISTENER INFO"] == []
    assert found["ROUTE INFO"] == [["route/80", "v", "/*", "404"]]
    assert found["SECRET INFO"] == [["secret/s", "Cert", "Chain", "ACTIVE", "false"]]
    assert found["ENDPOINTS INFO"] == [["endpoint/10.0.0.1:80", "UNKNOWN", "agent"]]


def test_short_of_words_all_counts() -> None:
    found = cells(verbose=False)
    assert found["LISTENER INFO"] == [["listener/one", "0.0.0.0", "80", "UNKNOWN"]]
    assert found["ROUTE INFO"] == [["route/80", "1"]]


def test_the_whole_dump_can_be_read_again_and_holds_no_key() -> None:
    [(title, text)] = commands.everything(whole(), "json", Filters(), NOW)
    assert title == "" and "hush" not in text
    assert list(commands.everything(text.encode(), "short", Filters(), NOW)) == list(
        commands.everything(whole(), "short", Filters(), NOW)
    )


def test_parts_before_an_absent_one_are_told() -> None:
    parts = commands.everything(bootstrap(), "short", Filters(), NOW)
    assert next(parts) == ("BOOTSTRAP INFO", "Envoy Version:       0.0.0\n")
    with pytest.raises(DumpError, match="ClustersConfigDump"):
        next(parts)
