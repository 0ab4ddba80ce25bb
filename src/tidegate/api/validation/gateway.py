"""Rules for Gateway."""

from tidegate.api.networking import Gateway, Port, Server, ServerTLSSettings, ServerTLSSettingsMode
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.names import (
    HTTP_PROTOCOLS,
    PROTOCOLS,
    TLS_PROTOCOLS,
    check_ip,
    check_port,
    check_unix,
    is_ip,
    is_label,
)
from tidegate.api.validation.sidecar import check_egress_name
from tidegate.api.validation.tls import check_server_tls

_PASSING = (ServerTLSSettingsMode.PASSTHROUGH, ServerTLSSettingsMode.AUTO_PASSTHROUGH)


def check_gateway(gateway: Gateway, name: str, out: Findings) -> None:
    if not is_label(name):
        out.error("metadata.name", "must be a DNS-1123 label: it becomes part of Envoy's names", name)
    if not gateway.servers:
        out.required("spec.servers", "at least one server is required")
    names: set[str] = set()
    for index, server in enumerate(gateway.servers):
        at = f"spec.servers[{index}]"
        check_server(at, server, out)
        if server.port is not None:
            if server.port.name in names:
                out.duplicate(f"{at}.port.name", server.port.name, "port names must be unique")
            names.add(server.port.name)
            _warn_redirect(at, server, out)


def _warn_redirect(path: str, server: Server, out: Findings) -> None:
    redirects = server.tls is not None and server.tls.https_redirect
    if redirects and server.port is not None and server.port.protocol.lower() not in HTTP_PROTOCOLS:
        out.warn(f"{path}.tls.httpsRedirect", "has no effect on a server that is not HTTP")


def check_server(path: str, server: Server, out: Findings) -> None:
    if not server.hosts:
        out.required(f"{path}.hosts", "at least one host is required")
    for index, host in enumerate(server.hosts):
        _check_host(f"{path}.hosts[{index}]", host, out)
    check_server_port(f"{path}.port", server.port, server.bind, out)
    if server.bind:
        _check_bind(f"{path}.bind", server.bind, out)
    if server.tls is not None:
        check_server_tls(f"{path}.tls", server.tls, out)
    if server.port is not None:
        _check_protocol(path, server.port.protocol.lower(), server.tls, out)


def _check_host(path: str, entry: str, out: Findings) -> None:
    namespace, slash, name = entry.rpartition("/")
    if slash and namespace not in ("*", ".") and not is_label(namespace):
        out.error(path, "namespace must be *, . (this one) or a namespace's name", entry)
    if not is_ip(name) or "." not in name:
        check_egress_name(path, name, out)


def check_server_port(path: str, port: Port | None, bind: str, out: Findings) -> None:
    if port is None:
        out.required(path, "which port the server listens on")
        return
    if port.protocol.lower() not in PROTOCOLS:
        out.error(
            f"{path}.protocol", f"must be one of {', '.join(sorted(p.upper() for p in PROTOCOLS))}", port.protocol
        )
    if not bind.startswith("unix://"):
        check_port(f"{path}.number", port.number, out)
    elif port.number:
        out.error(f"{path}.number", "must be 0 for a unix:// bind", port.number)
    if port.target_port:
        out.error(f"{path}.targetPort", "must not be set")
    if not port.name:
        out.required(f"{path}.name", "the port's name is required")


def _check_bind(path: str, bind: str, out: Findings) -> None:
    if bind.startswith("unix://"):
        check_unix(path, bind, out)
    else:
        check_ip(path, bind, out)


def _check_protocol(path: str, protocol: str, tls: ServerTLSSettings | None, out: Findings) -> None:
    if protocol in TLS_PROTOCOLS:
        if tls is None:
            out.required(f"{path}.tls", "protocol TLS or HTTPS needs TLS settings")
        return
    if tls is None:
        return
    if protocol not in HTTP_PROTOCOLS:
        out.error(f"{path}.tls", "needs protocol HTTPS or TLS", protocol.upper())
    elif tls.mode not in _PASSING or any((tls.server_certificate, tls.private_key, tls.ca_certificates)):
        out.error(
            f"{path}.tls", "on an HTTP server only httpsRedirect may be set; use protocol HTTPS", protocol.upper()
        )
