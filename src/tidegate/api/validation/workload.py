"""Rules for WorkloadEntry and WorkloadGroup."""

import re

from tidegate.api.networking import HTTPHealthCheckConfig, ReadinessProbe, WorkloadEntry, WorkloadGroup
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.names import (
    check_labels,
    check_port,
    check_port_name,
    check_unix,
    fqdn_problem,
    is_ip,
)

_HEADER_NAME = re.compile(r"[-A-Za-z0-9]+")


def check_workload_entry(path: str, entry: WorkloadEntry, out: Findings) -> None:
    at = f"{path}.address"
    if not entry.address:
        if not entry.network:
            out.required(at, "address is required: an IP address, a DNS name or unix:// and a path")
        else:
            out.warn(at, "address is not set, only network: traffic goes to that network's gateways")
    elif entry.address.startswith("unix://"):
        check_unix(at, entry.address, out)
        if entry.ports:
            out.error(f"{path}.ports", "may not be set for a unix:// address")
    elif not is_ip(entry.address) and (problem := fqdn_problem(entry.address)):
        out.error(at, f"{problem}, or an IP address", entry.address)
    for name, number in entry.ports.items():
        check_port_name(f"{path}.ports", name, out)
        check_port(f"{path}.ports[{name[:63]}]", number, out)
    check_labels(f"{path}.labels", entry.labels, out)


def check_workload_group(group: WorkloadGroup, out: Findings) -> None:
    if group.template is None:
        out.required("spec.template", "template is required")
    else:
        _check_template("spec.template", group.template, out)
    if group.metadata is not None:
        check_labels("spec.metadata.labels", group.metadata.labels, out)
    if group.probe is not None:
        check_probe("spec.probe", group.probe, out)


def _check_template(path: str, template: WorkloadEntry, out: Findings) -> None:
    """Of what comes with each workload, only what could be of none."""
    if template.address.startswith("unix://"):
        check_unix(f"{path}.address", template.address, out)
        if template.ports:
            out.error(f"{path}.ports", "may not be set for a unix:// address")
    for name, number in template.ports.items():
        check_port_name(f"{path}.ports", name, out)
        check_port(f"{path}.ports[{name[:63]}]", number, out)


def check_probe(path: str, probe: ReadinessProbe, out: Findings) -> None:
    for name, value in (
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ):
        if value < 0:
            out.error(f"{path}.{name}", "must not be negative", value)
    if probe.http_get is not None:
        _check_http_probe(f"{path}.httpGet", probe.http_get, out)
    elif probe.tcp_socket is not None:
        check_port(f"{path}.tcpSocket.port", probe.tcp_socket.port, out)
    elif probe.exec is not None:
        if not probe.exec.command:
            out.required(f"{path}.exec.command", "a command is required")
    else:
        # Istio's validation has no case for gRPC probes, so they are refused there as here.
        out.error(path, "unknown health check method: set one of httpGet, tcpSocket, exec")


def _check_http_probe(path: str, probe: HTTPHealthCheckConfig, out: Findings) -> None:
    check_port(f"{path}.port", probe.port, out)
    if probe.scheme not in ("", "HTTP", "HTTPS"):
        out.error(f"{path}.scheme", "must be HTTP or HTTPS", probe.scheme)
    for index, header in enumerate(probe.http_headers):
        if not _HEADER_NAME.fullmatch(header.name):
            out.error(f"{path}.httpHeaders[{index}].name", "must be letters, digits and '-'", header.name)
