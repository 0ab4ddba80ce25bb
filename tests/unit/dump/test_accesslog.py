"""Access log lines in both default formats, and their codes in words."""

import json

import pytest

from tidegate.dump.accesslog import MAX_LINE, parse
from tidegate.dump.logwords import DETAILS, FLAGS, explain

HTTP = (
    '[2026-01-02T03:04:05.678Z] "GET /v1/a?b=c HTTP/1.1" 503 UF,URX '
    "upstream_reset_before_response_started{connection_refused|delayed_connect_error} - "
    '"delayed_connect_error:_Connection_refused" 0 91 12 - "-" "curl/8.5.0" "id-1" "reviews:9080" "10.64.0.9:8000" '
    "outbound|9080|v1|reviews.shop.svc.cluster.local - 10.96.0.9:9080 10.64.0.2:40000 - default"
)
TCP = (
    '[2026-01-02T03:04:05.678Z] "- - -" 0 UH - - "-" 0 0 0 - "-" "-" "-" "-" "-" BlackHoleCluster - '
    "203.0.113.7:7000 10.64.0.2:40000 - -"
)
BLOCKED = (
    '[2026-01-02T03:04:05.678Z] "GET / HTTP/1.1" 502 - direct_response - "-" 0 0 0 - "-" "curl/8.5.0" "id" '
    '"www.example" "-" - - 203.0.113.7:80 10.64.0.2:40000 - block_all'
)


def codes(text):
    line = parse(text)
    return {note.code: note for note in explain(line, "client.front")}


def test_a_request_is_typed():
    line = parse(HTTP + "\n")
    assert (line.method, line.path, line.protocol) == ("GET", "/v1/a?b=c", "HTTP/1.1")
    assert (line.response_code, line.flags, line.bytes_sent, line.duration) == (503, ("UF", "URX"), 91, 12)
    assert (line.authority, line.upstream_host, line.route_name) == ("reviews:9080", "10.64.0.9:8000", "default")
    assert line.upstream_service_time == line.requested_server_name == ""
    assert line.failed and not line.inbound


def test_a_connection_of_plain_tcp_has_no_method():
    line = parse(TCP)
    assert (line.method, line.response_code, line.flags) == ("", 0, ("UH",))
    assert line.downstream_local_address == "203.0.113.7:7000"


def test_json_has_the_same_members():
    line = parse(HTTP)
    given = {
        "start_time": "2026-01-02T03:04:05.678Z",
        "method": "GET",
        "path": "/v1/a?b=c",
        "protocol": "HTTP/1.1",
        "response_code": 503,
        "response_flags": "UF,URX",
        "response_code_details": line.response_code_details,
        "connection_termination_details": None,
        "upstream_transport_failure_reason": line.upstream_transport_failure_reason,
        "bytes_received": 0,
        "bytes_sent": 91,
        "duration": 12,
        "upstream_service_time": None,
        "x_forwarded_for": None,
        "user_agent": "curl/8.5.0",
        "request_id": "id-1",
        "authority": "reviews:9080",
        "upstream_host": "10.64.0.9:8000",
        "upstream_cluster": "outbound|9080|v1|reviews.shop.svc.cluster.local",
        "upstream_local_address": None,
        "downstream_local_address": "10.96.0.9:9080",
        "downstream_remote_address": "10.64.0.2:40000",
        "requested_server_name": None,
        "route_name": "default",
        "a_member_of_the_meshs_own": {"a": 1},
    }
    assert parse(json.dumps(given)) == line


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "[2026-01-02 03:04:05.678][12][warning][config] [source/x.cc:1] gRPC config stream closed",
        HTTP[: len(HTTP) // 2],
        "{",
        "[]",
        '{"level": "info"}',
        '{"a":' * 5000,
        '["' * 40000,
        "x" * (MAX_LINE + 1),
        "\x00\xff",
    ],
    ids=range(11),
)
def test_anything_else_is_no_line(text):
    assert parse(text) is None


def test_words_that_are_no_numbers_count_as_none():
    assert parse('{"response_code": "many", "duration": -1, "bytes_sent": "²"}').response_code == 0


def test_each_code_of_a_failed_request_is_explained_with_what_to_try():
    found = codes(HTTP)
    assert "no connection to the endpoint" in found["UF"].meaning
    endpoint = 'tidegate proxy-config endpoint client.front --cluster "outbound|9080|v1|reviews.shop.svc.cluster.local"'
    assert found["UF"].next == endpoint
    assert "all retries" in found["URX"].meaning
    details = found["upstream_reset_before_response_started{connection_refused|delayed_connect_error}"]
    assert details.meaning == "the connection to the server ended before it answered: connection refused"
    cluster = found["outbound|9080|v1|reviews.shop.svc.cluster.local"].meaning
    assert "reviews.shop.svc.cluster.local, service port 9080, subset v1" in cluster


def test_what_the_mesh_refuses_is_told_apart_from_what_a_server_refuses():
    assert "REGISTRY_ONLY" in codes(TCP)["BlackHoleCluster"].meaning
    found = codes(BLOCKED)
    assert "Host header" in found["block_all"].meaning
    assert "no server was asked" in found["direct_response"].meaning
    assert not any("{" in note.next for note in found.values())


def test_where_no_service_is_involved_the_address_is_what_to_look_at():
    line = HTTP.replace("outbound|9080|v1|reviews.shop.svc.cluster.local", "PassthroughCluster")
    assert codes(line)["UF"].next.startswith("whether 10.64.0.9:8000 can be reached")


def test_a_code_of_a_newer_envoy_is_no_error():
    found = codes(HTTP.replace("UF,URX", "XYZ").replace("upstream_reset_before_response_started{", "new_thing{"))
    assert "newer Envoy" in found["XYZ"].meaning


def test_every_entry_says_something():
    assert all(meaning and not meaning.endswith(".") for meaning, _ in [*FLAGS.values(), *DETAILS.values()])
    assert {"UH", "UF", "UO", "NR", "UT", "UC", "DC", "FI", "DI", "DPE"} <= set(FLAGS)


def refused(details: str) -> str:
    line = HTTP.replace("upstream_reset_before_response_started{connection_refused|delayed_connect_error}", details)
    return codes(line)[details].meaning


def test_a_refusal_by_policy_names_the_rule():
    assert refused("rbac_access_denied_matched_policy[ns[shop]-policy[p]-rule[0]]").endswith(
        "ns[shop]-policy[p]-rule[0]"
    )
    assert "none of them allows" in refused("rbac_access_denied_matched_policy[none]")
    assert refused("jwt_authn_access_denied{Jwt_is_missing}").endswith("Jwt is missing")


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("TLS_error:|268435703:SSL_routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end", "speaks no TLS"),
        ("TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end", "trusted root"),
        ("delayed_connect_error:_Connection_refused", "nothing listens"),
    ],
)
def test_a_failed_connection_is_told_in_words(word, words):
    assert words in codes(HTTP.replace("delayed_connect_error:_Connection_refused", word))[word].meaning
