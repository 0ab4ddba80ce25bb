"""Access logs to a file: Istio's default formats and formats of the mesh's own.

https://istio.io/latest/docs/tasks/observability/logs/access-log/
"""

import json
from functools import lru_cache
from typing import Any

from tidegate.envoy import protos
from tidegate.envoy.inputs import AccessLog

TEXT_FORMAT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" '
    "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" '
    "%UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)

JSON_FORMAT = {
    "start_time": "%START_TIME%",
    "route_name": "%ROUTE_NAME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}

FILE_LOGGER = "envoy.access_loggers.file"


@lru_cache(maxsize=64)
def filter_logs(settings: AccessLog) -> tuple[Any, ...]:
    """The loggers of an HTTP connection manager or a TCP proxy: none when the log is off. Never change them."""
    if not settings.path:
        return ()
    return (protos.AccessLogPb(name=FILE_LOGGER, typed_config=_file(settings)),)


@lru_cache(maxsize=64)
def listener_logs(settings: AccessLog) -> tuple[Any, ...]:
    """The loggers of a capturing listener: connections for which no filter chain was found (flag NR)."""
    if not (settings.path and settings.listener_log):
        return ()
    only = protos.AccessLogFilter(response_flag_filter=protos.ResponseFlagFilter(flags=["NR"]))
    return (protos.AccessLogPb(name=FILE_LOGGER, filter=only, typed_config=_file(settings)),)


def _file(settings: AccessLog) -> Any:
    return protos.any_of(protos.FileAccessLog(path=settings.path, log_format=_format(settings)))


def _format(settings: AccessLog) -> Any:
    form = protos.SubstitutionFormatString()
    if settings.json:
        form.json_format.update(json_fields(settings.format))
        form.json_format_options.SetInParent()
        return form
    text = settings.format or TEXT_FORMAT
    form.text_format_source.inline_string = text if text.endswith("\n") else text + "\n"
    return form


def json_fields(form: str) -> dict[str, Any]:
    """The members of a JSON format of the mesh's own; the default ones where it is empty or no JSON object."""
    if not form:
        return JSON_FORMAT
    try:
        found = json.loads(form)
    except ValueError:
        return JSON_FORMAT
    return found if isinstance(found, dict) and found else JSON_FORMAT


__all__ = ["JSON_FORMAT", "TEXT_FORMAT", "filter_logs", "json_fields", "listener_logs"]
