"""Rules for Telemetry."""

from tidegate.api.telemetry import (
    AccessLogging,
    CustomTag,
    LogFilter,
    Metrics,
    MetricsOverrides,
    TagOperation,
    Telemetry,
    Tracing,
)
from tidegate.api.validation import cel
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.selection import check_selection

_SHORTEST_REPORT = 1_000_000
"""Nanoseconds."""


def check_telemetry(found: Telemetry, out: Findings) -> None:
    check_selection(found, out)
    if len(found.tracing) > 1:
        out.warn("spec.tracing", "several entries are not supported; settings of one direction override each other")
    for index, tracing in enumerate(found.tracing):
        _check_tracing(f"spec.tracing[{index}]", tracing, out)
    for index, metrics in enumerate(found.metrics):
        _check_metrics(f"spec.metrics[{index}]", metrics, out)
    for index, logging in enumerate(found.access_logging):
        _check_logging(f"spec.accessLogging[{index}]", logging, out)


def _check_providers(path: str, given: Tracing | Metrics | AccessLogging, out: Findings) -> None:
    for index, provider in enumerate(given.providers):
        if not provider.name:
            out.required(f"{path}.providers[{index}].name", "name of an extension provider")


def _check_tracing(path: str, tracing: Tracing, out: Findings) -> None:
    _check_providers(path, tracing, out)
    if len(tracing.providers) > 1:
        out.warn(f"{path}.providers", "several providers are not supported; the first is used")
    share = tracing.random_sampling_percentage
    if share is not None and not 0 <= share <= 100:
        out.error(f"{path}.randomSamplingPercentage", "must be 0 to 100", share)
    for name, tag in tracing.custom_tags.items():
        if not name:
            out.error(f"{path}.customTags", "tags must have a name")
        _check_tag(f"{path}.customTags[{name[:120]}]", tag, out)


def _check_tag(path: str, tag: CustomTag, out: Findings) -> None:
    if tag.literal is not None and not tag.literal.value:
        out.required(f"{path}.literal.value")
    if tag.environment is not None and not tag.environment.name:
        out.required(f"{path}.environment.name")
    if tag.header is not None and not tag.header.name:
        out.required(f"{path}.header.name")
    if tag.formatter is not None and not tag.formatter.value:
        out.required(f"{path}.formatter.value")


def _check_metrics(path: str, metrics: Metrics, out: Findings) -> None:
    _check_providers(path, metrics, out)
    interval = metrics.reporting_interval
    if interval is not None and interval < _SHORTEST_REPORT:
        out.error(f"{path}.reportingInterval", "must be at least 1ms", str(interval))
    for index, override in enumerate(metrics.overrides):
        _check_override(f"{path}.overrides[{index}]", override, out)


def _check_override(path: str, override: MetricsOverrides, out: Findings) -> None:
    if override.match is not None and override.match.custom_metric == "":
        out.error(f"{path}.match.customMetric", "must not be empty")
    for name, tag in override.tag_overrides.items():
        if not name:
            out.warn(f"{path}.tagOverrides", "tags must have a name")
        at = f"{path}.tagOverrides[{name[:120]}].value"
        if tag.operation is TagOperation.UPSERT and not tag.value:
            out.required(at, "operation UPSERT needs a CEL expression")
        elif tag.operation is TagOperation.REMOVE and tag.value:
            out.error(at, "must not be set for operation REMOVE", tag.value)


def _check_logging(path: str, logging: AccessLogging, out: Findings) -> None:
    _check_providers(path, logging, out)
    if logging.filter is not None:
        check_filter(f"{path}.filter", logging.filter, out)


def check_filter(path: str, given: LogFilter, out: Findings) -> None:
    """The expression of an access log's filter parses as CEL."""
    if problem := cel.problem(given.expression):
        out.error(f"{path}.expression", f"must be a CEL expression: {problem}", given.expression)
