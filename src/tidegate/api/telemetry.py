"""Telemetry: access logs, tracing and metrics by mesh, namespace and workload.

https://istio.io/latest/docs/reference/config/telemetry/
"""

import enum
from typing import Annotated

from msgspec import field

from tidegate.api.fields import Duration, Message, doc
from tidegate.api.networking import MatchLabelsSelector
from tidegate.api.selection import PolicyTargetReference


class WorkloadMode(enum.StrEnum):
    CLIENT_AND_SERVER = "CLIENT_AND_SERVER"
    CLIENT = "CLIENT"
    SERVER = "SERVER"


class Metric(enum.StrEnum):
    ALL_METRICS = "ALL_METRICS"
    REQUEST_COUNT = "REQUEST_COUNT"
    REQUEST_DURATION = "REQUEST_DURATION"
    REQUEST_SIZE = "REQUEST_SIZE"
    RESPONSE_SIZE = "RESPONSE_SIZE"
    TCP_OPENED_CONNECTIONS = "TCP_OPENED_CONNECTIONS"
    TCP_CLOSED_CONNECTIONS = "TCP_CLOSED_CONNECTIONS"
    TCP_SENT_BYTES = "TCP_SENT_BYTES"
    TCP_RECEIVED_BYTES = "TCP_RECEIVED_BYTES"
    GRPC_REQUEST_MESSAGES = "GRPC_REQUEST_MESSAGES"
    GRPC_RESPONSE_MESSAGES = "GRPC_RESPONSE_MESSAGES"


class TagOperation(enum.StrEnum):
    UPSERT = "UPSERT"
    REMOVE = "REMOVE"


class ProviderRef(Message, frozen=True):
    """telemetry.v1alpha1.ProviderRef."""

    name: Annotated[str, doc("name of an extension provider of the mesh", required=True, min_length=1)] = ""


class TracingSelector(Message, frozen=True):
    """telemetry.v1alpha1.Tracing.TracingSelector."""

    mode: Annotated[WorkloadMode, doc("as client, as server or both")] = WorkloadMode.CLIENT_AND_SERVER


class LiteralTag(Message, frozen=True):
    """telemetry.v1alpha1.Tracing.Literal."""

    value: Annotated[str, doc("value", required=True, min_length=1)] = ""


class EnvironmentTag(Message, frozen=True):
    """telemetry.v1alpha1.Tracing.Environment."""

    name: Annotated[str, doc("the proxy's environment variable", required=True, min_length=1)] = ""
    default_value: Annotated[str, doc("where it is not set")] = ""


class RequestHeaderTag(Message, frozen=True):
    """telemetry.v1alpha1.Tracing.RequestHeader."""

    name: Annotated[str, doc("request header", required=True, min_length=1)] = ""
    default_value: Annotated[str, doc("where it is absent")] = ""


class FormatterTag(Message, frozen=True):
    """telemetry.v1alpha1.Tracing.Formatter."""

    value: Annotated[str, doc("Envoy format string", required=True, min_length=1)] = ""


class CustomTag(Message, frozen=True):
    """telemetry.v1alpha1.Tracing.CustomTag."""

    literal: Annotated[LiteralTag | None, doc("constant", oneof="type")] = None
    environment: Annotated[EnvironmentTag | None, doc("environment variable", oneof="type")] = None
    header: Annotated[RequestHeaderTag | None, doc("request header", oneof="type")] = None
    formatter: Annotated[FormatterTag | None, doc("format string", oneof="type")] = None


class Tracing(Message, frozen=True):
    """telemetry.v1alpha1.Tracing."""

    match: Annotated[TracingSelector | None, doc("client or server side")] = None
    providers: Annotated[tuple[ProviderRef, ...], doc("the first counts")] = ()
    random_sampling_percentage: Annotated[float | None, doc("share of traces", minimum=0, maximum=100)] = None
    disable_span_reporting: Annotated[bool | None, doc("no spans are sent")] = None
    custom_tags: Annotated[dict[str, CustomTag], doc("more tags")] = field(default_factory=dict)
    use_request_id_for_trace_sampling: Annotated[bool | None, doc("sample by x-request-id")] = None
    enable_istio_tags: Annotated[bool | None, doc("istio.* tags")] = None
    disable_context_propagation: Annotated[bool | None, doc("trace headers are not sent on")] = None


class MetricSelector(Message, frozen=True):
    """telemetry.v1alpha1.MetricSelector."""

    metric: Annotated[Metric | None, doc("standard metric", oneof="metric_match")] = None
    custom_metric: Annotated[str | None, doc("named metric", oneof="metric_match", min_length=1)] = None
    mode: Annotated[WorkloadMode, doc("as client, as server or both")] = WorkloadMode.CLIENT_AND_SERVER


class TagOverride(Message, frozen=True):
    """telemetry.v1alpha1.MetricsOverrides.TagOverride."""

    operation: Annotated[TagOperation, doc("UPSERT or REMOVE")] = TagOperation.UPSERT
    value: Annotated[str, doc("CEL expression")] = ""


class MetricsOverrides(Message, frozen=True):
    """telemetry.v1alpha1.MetricsOverrides."""

    match: Annotated[MetricSelector | None, doc("which metrics")] = None
    disabled: Annotated[bool | None, doc("drop them")] = None
    tag_overrides: Annotated[dict[str, TagOverride], doc("changes of tags")] = field(default_factory=dict)


class Metrics(Message, frozen=True):
    """telemetry.v1alpha1.Metrics."""

    providers: Annotated[tuple[ProviderRef, ...], doc("who gets them")] = ()
    overrides: Annotated[tuple[MetricsOverrides, ...], doc("in order")] = ()
    reporting_interval: Annotated[Duration | None, doc("how often open TCP connections are reported")] = None


class LogSelector(Message, frozen=True):
    """telemetry.v1alpha1.AccessLogging.LogSelector."""

    mode: Annotated[WorkloadMode, doc("as client, as server or both")] = WorkloadMode.CLIENT_AND_SERVER


class LogFilter(Message, frozen=True):
    """telemetry.v1alpha1.AccessLogging.Filter."""

    expression: Annotated[str, doc("CEL expression; only what it is true for is logged")] = ""


class AccessLogging(Message, frozen=True):
    """telemetry.v1alpha1.AccessLogging."""

    match: Annotated[LogSelector | None, doc("client or server side")] = None
    providers: Annotated[tuple[ProviderRef, ...], doc("where to; none: those of the mesh")] = ()
    disabled: Annotated[bool | None, doc("no log")] = None
    filter: Annotated[LogFilter | None, doc("what is logged")] = None


class Telemetry(Message, frozen=True):
    """telemetry.v1alpha1.Telemetry."""

    selector: Annotated[MatchLabelsSelector | None, doc("labels of the workloads")] = None
    target_ref: Annotated[PolicyTargetReference | None, doc("object it is attached to")] = None
    target_refs: Annotated[tuple[PolicyTargetReference, ...], doc("objects it is attached to", max_items=16)] = ()
    tracing: Annotated[tuple[Tracing, ...], doc("tracing")] = ()
    metrics: Annotated[tuple[Metrics, ...], doc("metrics")] = ()
    access_logging: Annotated[tuple[AccessLogging, ...], doc("access logs")] = ()
