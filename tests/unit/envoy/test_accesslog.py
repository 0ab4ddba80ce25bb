"""Access logs."""

import pytest

from tests.unit.envoy.outbound_samples import unpacked
from tidegate.envoy import accesslog, protos
from tidegate.envoy.inputs import AccessLog


def opened(settings: AccessLog):
    (log,) = accesslog.filter_logs(settings)
    return unpacked(log.typed_config, protos.FileAccessLog)


def test_without_a_path_nothing_is_logged():
    assert accesslog.filter_logs(AccessLog()) == ()
    assert accesslog.listener_logs(AccessLog()) == ()


def test_default_text_has_istios_operators_in_order():
    text = opened(AccessLog(path="/dev/stdout")).log_format.text_format_source.inline_string
    assert text.startswith('[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" ')
    assert text.endswith("%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n")
    assert text.count("%") == 2 * 24


def test_a_text_format_gets_its_newline():
    log = opened(AccessLog(path="/x", format="%DURATION%"))
    assert log.log_format.text_format_source.inline_string == "%DURATION%\n"


def test_default_json_has_istios_keys():
    fields = dict(opened(AccessLog(path="/x", json=True)).log_format.json_format)
    assert fields["upstream_cluster"] == "%UPSTREAM_CLUSTER_RAW%"
    assert len(fields) == 24


@pytest.mark.parametrize("form", ["not json", "[1]", "{}", ""])
def test_a_json_format_that_is_no_object_falls_back(form):
    assert accesslog.json_fields(form) == accesslog.JSON_FORMAT


def test_own_json_format():
    log = opened(AccessLog(path="/x", json=True, format='{"code": "%RESPONSE_CODE%", "more": {"id": 1}}'))
    assert dict(log.log_format.json_format)["code"] == "%RESPONSE_CODE%"


def test_listener_log_only_tells_of_connections_without_a_chain():
    (log,) = accesslog.listener_logs(AccessLog(path="/x"))
    assert list(log.filter.response_flag_filter.flags) == ["NR"]
    assert accesslog.listener_logs(AccessLog(path="/x", listener_log=False)) == ()
