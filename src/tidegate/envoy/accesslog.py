"""Access logs, to files and to services: Istio's default formats, formats of the mesh's own and of its providers.

https://istio.io/latest/docs/tasks/observability/logs/access-log/
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from tidegate.api.mesh import EnvoyFileAccessLogProvider, EnvoyHttpGrpcV3LogProvider, EnvoyOpenTelemetryLogProvider
from tidegate.envoy import protos
from tidegate.envoy.inputs import AccessLog, Logger

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
HTTP_LOGGER = "envoy.access_loggers.http_grpc"
TCP_LOGGER = "envoy.tcp_grpc_access_log"
OTEL_LOGGER = "envoy.access_loggers.open_telemetry"
CEL_FILTER = "envoy.access_loggers.extension_filters.cel"

PEER_STATE = ("upstream_peer", "downstream_peer")
"""What Istio's log services are told of the two sides, where a proxy knows it."""
_OLD_STATE = ("wasm.upstream_peer", "wasm.upstream_peer_id", "wasm.downstream_peer", "wasm.downstream_peer_id")
"""The same by its older names, which services of OpenTelemetry are told too."""

_WITHOUT_QUERY = "%REQ_WITHOUT_QUERY("


@lru_cache(maxsize=256)
def filter_logs(settings: AccessLog) -> tuple[Any, ...]:
    """The loggers of an HTTP connection manager or a TCP proxy: none when the log is off. Never change them."""
    if settings.loggers is not None:
        return tuple(_logged(each, settings) for each in settings.loggers)
    if not settings.path:
        return ()
    return (protos.AccessLogPb(name=FILE_LOGGER, typed_config=_file(settings)),)


@lru_cache(maxsize=256)
def listener_logs(settings: AccessLog) -> tuple[Any, ...]:
    """The loggers of a capturing listener: connections for which no filter chain was found (flag NR)."""
    if not settings.listener_log:
        return ()
    only = protos.AccessLogFilter(response_flag_filter=protos.ResponseFlagFilter(flags=["NR"]))
    if settings.loggers is not None:
        return tuple(_logged(each, settings, only) for each in settings.loggers)
    if not settings.path:
        return ()
    return (protos.AccessLogPb(name=FILE_LOGGER, filter=only, typed_config=_file(settings)),)


def _logged(logger: Logger, settings: AccessLog, *conditions: Any) -> Any:
    """One logger of Telemetry, for what meets all conditions and its own expression."""
    found = provider_log(logger, settings)
    if logger.expression:
        config = protos.any_of(protos.CelAccessLogFilter(expression=logger.expression))
        extension = protos.AccessLogFilter()
        extension.extension_filter.name = CEL_FILTER
        extension.extension_filter.typed_config.CopyFrom(config)
        conditions = (*conditions, extension)
    if len(conditions) > 1:
        found.filter.and_filter.filters.extend(conditions)
    elif conditions:
        found.filter.CopyFrom(conditions[0])
    return found


def provider_log(logger: Logger, settings: AccessLog) -> Any:
    """The access log (AccessLog message) of one provider, without conditions.

    ``settings`` have the mesh's own format, for the built-in provider that has none.
    """
    provider = logger.provider.value
    if provider.envoy_file_access_log is not None:
        config = _provider_file(provider.envoy_file_access_log, logger, settings)
        return protos.AccessLogPb(name=FILE_LOGGER, typed_config=config)
    if provider.envoy_http_als is not None:
        return protos.AccessLogPb(name=HTTP_LOGGER, typed_config=_http_service(provider.envoy_http_als, logger))
    if provider.envoy_tcp_als is not None:
        named = provider.envoy_tcp_als
        common = _common(logger, named.log_name or "tcp_envoy_accesslog", named.filter_state_objects_to_log)
        config = protos.TcpGrpcAccessLogConfig(common_config=common)
        return protos.AccessLogPb(name=TCP_LOGGER, typed_config=protos.any_of(config))
    assert provider.envoy_otel_als is not None  # noqa: S101 -- resolution leaves out what is no access log
    return protos.AccessLogPb(name=OTEL_LOGGER, typed_config=_telemetry_service(provider.envoy_otel_als, logger))


# To files


def _file(settings: AccessLog) -> Any:
    return protos.any_of(protos.FileAccessLog(path=settings.path, log_format=_format(settings)))


def _format(settings: AccessLog) -> Any:
    return _json(json_fields(settings.format)) if settings.json else _text(settings.format)


def _provider_file(given: EnvoyFileAccessLogProvider, logger: Logger, settings: AccessLog) -> Any:
    form = given.log_format
    if form is None:
        written = _format(settings) if logger.of_mesh and not given.omit_empty_values else _text("")
    elif form.labels is not None:
        written = _json(form.labels or JSON_FORMAT)
    else:
        written = _text(form.text or "")
    written.omit_empty_values = given.omit_empty_values
    return protos.any_of(protos.FileAccessLog(path=given.path or "/dev/stdout", log_format=written))


def _text(form: str) -> Any:
    text = form or TEXT_FORMAT
    found = protos.SubstitutionFormatString()
    found.text_format_source.inline_string = text if text.endswith("\n") else text + "\n"
    found.formatters.extend(_formatters(text))
    return found


def _json(fields: dict[str, Any]) -> Any:
    found = protos.SubstitutionFormatString()
    found.json_format.update(fields)
    found.json_format_options.SetInParent()
    found.formatters.extend(_formatters(json.dumps(fields)))
    return found


def _formatters(text: str) -> list[Any]:
    """Commands that Envoy knows only with an extension of its own."""
    if _WITHOUT_QUERY not in text:
        return []
    return [protos.extension("envoy.formatter.req_without_query", protos.ReqWithoutQuery())]


def json_fields(form: str) -> dict[str, Any]:
    """The members of a JSON format of the mesh's own; the default ones where it is empty or no JSON object."""
    if not form:
        return JSON_FORMAT
    try:
        found = json.loads(form)
    except ValueError:
        return JSON_FORMAT
    return found if isinstance(found, dict) and found else JSON_FORMAT


# To services


def _common(logger: Logger, name: str, state: Sequence[str]) -> Any:
    common = protos.CommonGrpcAccessLogConfig(
        log_name=name,
        transport_api_version=protos.ApiVersion.V3,
        filter_state_objects_to_log=state or PEER_STATE,
    )
    common.grpc_service.envoy_grpc.cluster_name = logger.cluster
    common.grpc_service.envoy_grpc.authority = logger.host
    return common


def _http_service(given: EnvoyHttpGrpcV3LogProvider, logger: Logger) -> Any:
    common = _common(logger, given.log_name or "http_envoy_accesslog", given.filter_state_objects_to_log)
    return protos.any_of(
        protos.HttpGrpcAccessLogConfig(
            common_config=common,
            additional_request_headers_to_log=given.additional_request_headers_to_log,
            additional_response_headers_to_log=given.additional_response_headers_to_log,
            additional_response_trailers_to_log=given.additional_response_trailers_to_log,
        )
    )


def _telemetry_service(given: EnvoyOpenTelemetryLogProvider, logger: Logger) -> Any:
    form = given.log_format
    labels = {key: str(value) for key, value in ((form.labels if form is not None else None) or {}).items()}
    config = protos.OpenTelemetryAccessLogConfig(
        common_config=_common(logger, given.log_name or "otel_envoy_accesslog", (*PEER_STATE, *_OLD_STATE)),
        disable_builtin_labels=True,
    )
    config.body.string_value = (form.text if form is not None else "") or TEXT_FORMAT
    for key, value in sorted(labels.items()):
        config.attributes.values.add(key=key).value.string_value = value
    config.formatters.extend(_formatters(" ".join((config.body.string_value, *labels.values()))))
    return protos.any_of(config)


__all__ = ["JSON_FORMAT", "TEXT_FORMAT", "filter_logs", "json_fields", "listener_logs", "provider_log"]
