"""Every suite, in the order in which the table shows them."""

from functools import partial

from conformance import (
    agreement,
    authz,
    balancing,
    capture,
    dumps,
    goldens,
    incidents,
    ingress,
    injection,
    names,
    registry,
    simulation,
    summary,
    telemetry,
    validation,
)
from conformance.suite import CONFORMANCE, GOLDENS, INCIDENTS, Suite


def _of(name: str) -> Suite:
    """A suite that nothing is built for."""
    return Suite(name, CONFORMANCE, name)


SUITES: tuple[Suite, ...] = (
    Suite("simulation", CONFORMANCE, "simulation", simulation.calls),
    Suite("simulation: tables", CONFORMANCE, "simulation", simulation.tables),
    Suite("xds-goldens", GOLDENS, "", goldens.explained),
    Suite("xds-goldens: general only", GOLDENS, "", goldens.in_general),
    Suite("explain on istiod's goldens", GOLDENS, "", agreement.judge),
    Suite("validation: objects", CONFORMANCE, "validation/objects", validation.objects),
    Suite("validation: crds", CONFORMANCE, "validation/crds", validation.crds),
    Suite("validation: mesh", CONFORMANCE, "validation/mesh", validation.rules),
    Suite("validation: fragments", CONFORMANCE, "validation/fragments", validation.rules),
    Suite("config_dump", CONFORMANCE, "config_dump", dumps.judge),
    Suite("serviceregistry", CONFORMANCE, "serviceregistry", registry.judge),
    Suite("loadbalancing", CONFORMANCE, "loadbalancing", balancing.judge),
    Suite("dns_name_table", CONFORMANCE, "dns_name_table", names.judge),
    Suite("telemetry: access logs", CONFORMANCE, "telemetry", telemetry.access_logs),
    Suite("telemetry: tracing", CONFORMANCE, "telemetry", telemetry.spans),
    Suite("telemetry: statistics", CONFORMANCE, "telemetry", count=telemetry.statistics),
    Suite("authz", CONFORMANCE, "authz", authz.judge),
    Suite("incidents: our configuration", INCIDENTS, "", partial(incidents.judge, foreign=False)),
    Suite("incidents: istiod's", INCIDENTS, "", partial(incidents.judge, foreign=True)),
    Suite("iptables", CONFORMANCE, "iptables", capture.iptables),
    Suite("nftables", CONFORMANCE, "iptables", capture.nftables),
    Suite("packet rules: ambient", CONFORMANCE, "iptables", count=capture.ambient),
    Suite("xds_summary", CONFORMANCE, "xds_summary", summary.names),
    Suite("xds_summary: chains, routes", CONFORMANCE, "xds_summary", summary.details),
    _of("analyzers"),
    Suite("injection", CONFORMANCE, "injection", injection.judge),
    Suite("gateway_api", CONFORMANCE, "gateway_api", ingress.judge),
    _of("vmconfig"),
)
