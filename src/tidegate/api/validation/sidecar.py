"""Rules for Sidecar."""

from tidegate.api.networking import (
    CaptureMode,
    Destination,
    IstioEgressListener,
    IstioIngressListener,
    OutboundTrafficPolicy,
    OutboundTrafficPolicyMode,
    ServerTLSSettings,
    ServerTLSSettingsMode,
    Sidecar,
)
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.names import (
    HTTP_PROTOCOLS,
    TLS_PROTOCOLS,
    check_fqdn,
    check_ip,
    check_label,
    check_port,
    check_port_name,
    check_protocol,
    check_selector,
    check_unix,
    check_wildcard,
    is_label,
    is_partial_wildcard,
)
from tidegate.api.validation.tls import check_server_tls
from tidegate.api.validation.traffic import check_pool

_LOOPBACKS = ("", "127.0.0.1", "0.0.0.0", "::1", "::")  # noqa: S104 - what an endpoint may say, nothing is bound


def check_sidecar(sidecar: Sidecar, namespace: str, out: Findings) -> None:
    if sidecar.workload_selector is not None:
        check_selector("spec.workloadSelector.labels", sidecar.workload_selector.labels, out)
    whole = (sidecar.outbound_traffic_policy, sidecar.inbound_connection_pool)
    if not sidecar.egress and not sidecar.ingress and all(part is None for part in whole):
        needed = "must set at least one of egress, ingress, outboundTrafficPolicy, inboundConnectionPool"
        out.error("spec", needed)
        out.warnings.clear()
    _check_ingress(sidecar.ingress, out)
    _check_egress(sidecar.egress, namespace, out)
    if sidecar.outbound_traffic_policy is not None:
        _check_outbound_policy("spec.outboundTrafficPolicy", sidecar.outbound_traffic_policy, out)
    if sidecar.inbound_connection_pool is not None:
        check_pool("spec.inboundConnectionPool", sidecar.inbound_connection_pool, out)


def _check_ingress(listeners: tuple[IstioIngressListener, ...], out: Findings) -> None:
    numbers: set[int] = set()
    for index, listener in enumerate(listeners):
        at = f"spec.ingress[{index}]"
        if listener.port is None:
            out.required(f"{at}.port", "which port the listener is for")
            continue
        number = listener.port.number
        if number in numbers:
            out.duplicate(f"{at}.port.number", number, "ports on ingress listeners must be unique")
        numbers.add(number)
        check_port(f"{at}.port.number", number, out)
        _check_listener(at, listener, out)
        _check_endpoint(f"{at}.defaultEndpoint", listener.default_endpoint, out)
        _check_ingress_extras(at, listener, listener.port.protocol.lower(), out)


def _check_listener(path: str, listener: IstioIngressListener, out: Findings) -> None:
    if listener.port is None:
        return
    if listener.port.target_port:
        out.error(f"{path}.port.targetPort", "must not be set: defaultEndpoint says where traffic goes")
    check_protocol(f"{path}.port.protocol", listener.port.protocol, out)
    if listener.port.name:
        check_port_name(f"{path}.port.name", listener.port.name, out)
    if listener.bind:
        check_ip(f"{path}.bind", listener.bind, out)


def _check_ingress_extras(path: str, listener: IstioIngressListener, protocol: str, out: Findings) -> None:
    if listener.tls is not None:
        _check_ingress_tls(f"{path}.tls", listener.tls, protocol, out)
    if listener.connection_pool is not None:
        check_pool(f"{path}.connectionPool", listener.connection_pool, out)
        if listener.connection_pool.http is not None and protocol not in HTTP_PROTOCOLS:
            out.warn(f"{path}.connectionPool.http", "has no effect on a port that is not HTTP")


def _check_endpoint(path: str, endpoint: str, out: Findings) -> None:
    if not endpoint:
        return
    if endpoint.startswith("unix://"):
        check_unix(path, endpoint, out)
        return
    host, colon, port = endpoint.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or bare not in _LOOPBACKS or (":" in bare and bare == host):
        out.error(path, "must be 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix://PATH", endpoint)
    elif not port.isascii() or not port.isdecimal() or not 1 <= int(port[:6]) <= 65535:
        out.error(path, "must end with a port from 1 to 65535", endpoint)


def _check_ingress_tls(path: str, tls: ServerTLSSettings, protocol: str, out: Findings) -> None:
    if protocol not in TLS_PROTOCOLS:
        out.error(path, "needs a port of protocol TLS or HTTPS", protocol.upper())
    for name, value in (
        ("subjectAltNames", tls.subject_alt_names),
        ("httpsRedirect", tls.https_redirect),
        ("credentialName", tls.credential_name),
        ("credentialNames", tls.credential_names),
        ("tlsCertificates", tls.tls_certificates),
    ):
        if value:
            out.error(f"{path}.{name}", "is not supported for a Sidecar's ingress listener")
    if tls.mode in (ServerTLSSettingsMode.ISTIO_MUTUAL, ServerTLSSettingsMode.AUTO_PASSTHROUGH):
        out.error(f"{path}.mode", "is not supported for a Sidecar's ingress listener", tls.mode.value)
    check_server_tls(path, tls, out)


def _check_egress(listeners: tuple[IstioEgressListener, ...], home: str, out: Findings) -> None:
    numbers: set[int] = set()
    binds: set[str] = set()
    catch_all = False
    for index, listener in enumerate(listeners):
        at = f"spec.egress[{index}]"
        if not listener.hosts:
            out.required(f"{at}.hosts", "at least one host is required: namespace/dnsName")
        _check_hosts(f"{at}.hosts", listener.hosts, home, out)
        if listener.port is None:
            if catch_all:
                out.error(at, "only one egress listener may have no port")
            elif index != len(listeners) - 1:
                out.error(at, "the egress listener without a port must be the last")
            catch_all = True
            continue
        _check_egress_port(at, listener, numbers, binds, out)


def _check_egress_port(
    path: str, listener: IstioEgressListener, numbers: set[int], binds: set[str], out: Findings
) -> None:
    port = listener.port
    if port is None:
        return
    if port.number == 0:
        _check_unix_listener(path, listener, binds, out)
    else:
        check_port(f"{path}.port.number", port.number, out)
        if port.number in numbers:
            out.duplicate(f"{path}.port.number", port.number, "ports on egress listeners must be unique")
        numbers.add(port.number)
        if listener.bind:
            check_ip(f"{path}.bind", listener.bind, out)
    if port.target_port:
        out.error(f"{path}.port.targetPort", "must not be set")
    check_protocol(f"{path}.port.protocol", port.protocol, out)
    if port.name:
        check_port_name(f"{path}.port.name", port.name, out)


def _check_unix_listener(path: str, listener: IstioEgressListener, binds: set[str], out: Findings) -> None:
    if not listener.bind:
        out.error(f"{path}.port.number", "must be a port from 1 to 65535, or bind must be unix:// and a path", 0)
        return
    if not listener.bind.startswith("unix://"):
        out.error(f"{path}.bind", "port number 0 needs unix:// and a path here", listener.bind)
    else:
        check_unix(f"{path}.bind", listener.bind, out)
    if listener.capture_mode not in (CaptureMode.DEFAULT, CaptureMode.NONE):
        expected = "must be DEFAULT or NONE for a unix:// listener"
        out.error(f"{path}.captureMode", expected, listener.capture_mode.value)
    if listener.bind in binds:
        out.duplicate(f"{path}.bind", listener.bind, "unix sockets of egress listeners must be unique")
    binds.add(listener.bind)


def _check_hosts(path: str, hosts: tuple[str, ...], home: str, out: Findings) -> None:
    names: dict[str, set[str]] = {}
    for index, entry in enumerate(hosts):
        at = f"{path}[{index}]"
        namespace, slash, name = entry.partition("/")
        if not slash or "/" in name:
            out.error(at, "must be namespace/dnsName", entry)
            continue
        check_namespace(at, namespace, entry, out)
        check_egress_name(at, name, out)
        if entry.startswith("~"):
            continue
        others = names.setdefault(home if namespace == "." else namespace, set())
        if name in others:
            out.warn(at, f"{entry[:120]} is listed twice")
        elif others and ("*" in others or name == "*"):
            out.warn(at, f"{namespace}/* covers the other entries of that namespace")
        others.add(name)
    if "*" in names.get("*", ()) and len(names) > 1:
        out.warn(path, "*/* covers all other entries")


def check_namespace(path: str, namespace: str, entry: str, out: Findings) -> None:
    """The namespace of a host: ``*``, ``.``, a name, or one of these after ``~``."""
    excluded = namespace.startswith("~")
    bare = namespace.removeprefix("~")
    if bare in ("*", ".") or (excluded and not bare) or is_label(bare):
        return
    out.error(path, "namespace must be *, . (this one), a namespace's name, or one of these after ~", entry)


def check_egress_name(path: str, name: str, out: Findings) -> None:
    """The dnsName of a Sidecar's or a Gateway's host: ``*``, or a domain that has a dot."""
    if name == "*":
        return
    if "." not in name:
        out.error(path, "the DNS name must be * or have a dot: short names are not resolved here", name)
    elif is_partial_wildcard(name):
        out.error(path, "a wildcard must be a whole label: *.domain", name)
    else:
        check_wildcard(path, name, out)


def _check_outbound_policy(path: str, policy: OutboundTrafficPolicy, out: Findings) -> None:
    proxy = policy.egress_proxy
    if proxy is None:
        return
    if policy.mode is not OutboundTrafficPolicyMode.ALLOW_ANY:
        out.error(f"{path}.egressProxy", "needs mode ALLOW_ANY")
    _check_proxy(f"{path}.egressProxy", proxy, out)


def _check_proxy(path: str, proxy: Destination, out: Findings) -> None:
    check_fqdn(f"{path}.host", proxy.host, out)
    if proxy.subset:
        check_label(f"{path}.subset", proxy.subset, out)
    if proxy.port is None:
        out.required(f"{path}.port", "the egress proxy's port is required")
    else:
        check_port(f"{path}.port.number", proxy.port.number, out)
