import math
from typing import Any

import pytest

from tidegate.api.core import ServiceSpec
from tidegate.api.mesh import MeshConfig
from tidegate.api.networking import DestinationRule, ServiceEntry, VirtualService
from tidegate.api.walk import walk


def read(body: type[Any], value: Any) -> tuple[Any, list[str], list[str]]:
    normal, errors, unknown = walk(body, value, "spec")
    return normal, [str(e) for e in errors], unknown


def http(**route: Any) -> dict[str, Any]:
    return {"hosts": ["a"], "http": [route]}


@pytest.mark.parametrize("written", [8080, "8080", 8080.0])
def test_whole_numbers_in_their_protobuf_forms(written: Any) -> None:
    normal, errors, _ = read(VirtualService, http(match=[{"port": written}]))
    assert errors == []
    assert normal["http"][0]["match"][0]["port"] == 8080
    assert type(normal["http"][0]["match"][0]["port"]) is int


@pytest.mark.parametrize("written", [1.5, True, "1.5", "x", "", [], {}, -1, 2**32, "-1", "9" * 400])
def test_numbers_that_are_none_are_refused_with_their_path(written: Any) -> None:
    normal, errors, _ = read(VirtualService, http(match=[{}, {"port": written}]))
    assert len(errors) == 1
    assert errors[0].startswith("spec.http[0].match[1].port: must be a whole number")
    assert normal["http"][0]["match"] == [{}, {}]


@pytest.mark.parametrize("written", [1, "STATIC"])
def test_enums_by_name_and_by_number(written: Any) -> None:
    assert read(ServiceEntry, {"hosts": ["a"], "resolution": written})[0]["resolution"] == "STATIC"


@pytest.mark.parametrize("written", ["static", 99, -1, True, 1.0, ["STATIC"]])
def test_other_enum_values_are_refused(written: Any) -> None:
    _, errors, _ = read(ServiceEntry, {"hosts": ["a"], "resolution": written})
    assert len(errors) == 1
    assert errors[0].startswith("spec.resolution: must be one of NONE, STATIC, DNS")


@pytest.mark.parametrize(
    ("written", "canonical"),
    [("3s", "3s"), ("1h30m", "5400s"), ("500ms", "0.500s"), ("0.000000001s", "0.000000001s"), ("1.50s", "1.500s")],
)
def test_durations_become_protobuf_form(written: str, canonical: str) -> None:
    normal, errors, _ = read(VirtualService, http(timeout=written))
    assert errors == []
    assert normal["http"][0]["timeout"] == canonical


@pytest.mark.parametrize("written", [3, "3", "", "3 s", "s", {}, None.__class__, "1s" * 60])
def test_other_durations_are_refused(written: Any) -> None:
    _, errors, _ = read(VirtualService, http(timeout=written))
    assert len(errors) == 1
    assert errors[0].startswith('spec.http[0].timeout: must be a duration such as "1.5s"')


@pytest.mark.parametrize("written", ["AP8=", "AP8", "AP8="])
def test_bytes_with_and_without_padding(written: str) -> None:
    normal, errors, _ = read(VirtualService, http(directResponse={"status": 200, "body": {"bytes": written}}))
    assert errors == []
    assert normal["http"][0]["directResponse"]["body"]["bytes"] == "AP8="


def test_url_safe_bytes_become_standard() -> None:
    normal, _, _ = read(VirtualService, http(directResponse={"status": 200, "body": {"bytes": "_-8"}}))
    assert normal["http"][0]["directResponse"]["body"]["bytes"] == "/+8="


@pytest.mark.parametrize("written", ["A", "%%%%", 5])
def test_other_bytes_are_refused(written: Any) -> None:
    _, errors, _ = read(VirtualService, http(directResponse={"status": 200, "body": {"bytes": written}}))
    assert len(errors) == 1
    assert errors[0].startswith("spec.http[0].directResponse.body.bytes: must be")


def test_snake_case_is_read_and_written_as_camel_case() -> None:
    tls = [{"match": [{"sni_hosts": ["a"]}], "route": [{"destination": {"host": "a"}}]}]
    normal, errors, unknown = read(VirtualService, {"hosts": ["a"], "tls": tls, "export_to": ["."]})
    assert (errors, unknown) == ([], [])
    assert normal["tls"][0]["match"][0] == {"sniHosts": ["a"]}
    assert normal["exportTo"] == ["."]


def test_one_field_in_both_spellings_is_an_error() -> None:
    _, errors, _ = read(ServiceEntry, {"hosts": ["a"], "exportTo": ["."], "export_to": ["*"]})
    assert errors == ['spec.exportTo: given twice, as "exportTo" and "export_to"; keep one']


def test_null_is_unset_and_an_empty_list_is_kept() -> None:
    normal, errors, _ = read(ServiceEntry, {"hosts": ["a"], "resolution": None, "endpoints": []})
    assert errors == []
    assert normal == {"hosts": ["a"], "endpoints": []}


def test_null_in_a_list_or_map_is_an_error() -> None:
    _, errors, _ = read(VirtualService, {"hosts": [None], "http": [{"match": [{"headers": {"x": None}}]}]})
    assert errors == [
        "spec.hosts[0]: must be text, not null",
        "spec.http[0].match[0].headers[x]: must be an object, not null",
    ]


def test_every_error_is_told_at_once() -> None:
    _, errors, unknown = read(
        VirtualService,
        {"hosts": "a", "http": [{"timeout": 1, "route": [{"weight": "x"}], "foo": 1, "retries": []}], "bar": {}},
    )
    assert [e.split(":")[0] for e in errors] == [
        "spec.hosts",
        "spec.http[0].timeout",
        "spec.http[0].route[0].weight",
        "spec.http[0].route[0].destination",
        "spec.http[0].retries",
    ]
    assert unknown == ["spec.http[0].foo", "spec.bar"]


def test_only_one_member_of_a_oneof() -> None:
    _, errors, _ = read(VirtualService, http(match=[{"uri": {"exact": "/", "prefix": "/"}}]))
    assert errors == ["spec.http[0].match[0].uri: only one of exact, prefix may be set"]


def test_a_oneof_member_set_to_null_does_not_count() -> None:
    assert read(VirtualService, http(match=[{"uri": {"exact": "/", "prefix": None}}]))[1] == []


def test_limits_of_fields() -> None:
    _, errors, _ = read(ServiceEntry, {"hosts": [], "addresses": ["1" * 65], "endpoints": [{"network": "n" * 2049}]})
    assert [e.split(" (got")[0] for e in errors] == [
        "spec.hosts: must have at least 1 items",
        f"spec.addresses: item '{'1' * 65}' must be at most 64 characters long",
        "spec.endpoints[0].network: must be at most 2048 characters long",
    ]


def test_required_fields() -> None:
    assert read(ServiceEntry, {})[1] == ["spec.hosts: required"]
    assert read(DestinationRule, None)[1] == ["spec.host: required"]


@pytest.mark.parametrize("written", [math.nan, math.inf, "NaN", "Infinity", "1e999", True, "x", " 1"])
def test_numbers_must_be_finite(written: Any) -> None:
    _, errors, _ = read(DestinationRule, {"host": "a", "trafficPolicy": {"retryBudget": {"percent": written}}})
    assert len(errors) == 1
    assert errors[0].startswith("spec.trafficPolicy.retryBudget.percent: must be a finite number")


def test_long_values_are_cut_in_errors() -> None:
    _, errors, _ = read(VirtualService, http(timeout="9" * 10_000))
    assert len(errors[0]) < 300


def test_any_json_is_kept_as_it_is() -> None:
    labels = {"a": [1, None, {"b": "c"}]}
    provider = {"name": "log", "envoyFileAccessLog": {"logFormat": {"labels": labels}}}
    normal, errors, _ = walk(MeshConfig, {"extensionProviders": [provider]}, "")
    assert errors == []
    assert normal["extensionProviders"][0]["envoyFileAccessLog"]["logFormat"]["labels"] == labels


def test_core_kinds_are_read_as_kubernetes_does() -> None:
    normal, errors, unknown = walk(
        ServiceSpec, {"cluster_ip": "x", "ports": [{"port": "80", "targetPort": "http"}]}, "spec", proto=False
    )
    assert [str(e) for e in errors] == ["spec.ports[0].port: must be a whole number (got '80')"]
    assert unknown == ["spec.cluster_ip"]
    assert normal == {"ports": [{"targetPort": "http"}]}
