"""Variables of Istio's agent that this one does not act on: told at the start, so that nobody relies on them."""

from collections.abc import Iterator, Mapping

_CERTIFICATES = "workload certificates are not issued yet"
_GO = "this agent is no Go program"
_DNS = "DNS is answered on port 15053 of loopback, and servers are asked one after the other"
_REASONS = {
    _CERTIFICATES: (
        "CA_ADDR",
        "CA_PROVIDER",
        "CA_ROOT_CA",
        "CREDENTIAL_FETCHER_TYPE",
        "CREDENTIAL_IDENTITY_PROVIDER",
        "ECC_CURVE",
        "ECC_SIGNATURE_ALGORITHM",
        "FILE_MOUNTED_CERTS",
        "OUTPUT_CERTS",
        "PKCS8_KEY",
        "PROV_CERT",
        "SECRET_GRACE_PERIOD_RATIO",
        "SECRET_TTL",
        "TRUST_DOMAIN",
        "WORKLOAD_IDENTITY_SOCKET_FILE",
        "WORKLOAD_RSA_KEY_SIZE",
    ),
    _GO: ("GOGC", "GOMAXPROCS", "GOMEMLIMIT"),
    _DNS: ("DNS_FORWARD_PARALLEL", "DNS_FORWARD_TIMEOUT", "DNS_PROXY_ADDR"),
    "TLS versions and ciphers are Envoy's own": ("COMPLIANCE_POLICY",),
    "no address of the node is asked for": ("HOST_IP",),
    "statistics are served as plain text": ("ENVOY_SECURE_MERGED_METRICS_PORT",),
    "the control plane alone configures the proxy": ("GRPC_XDS_BOOTSTRAP", "PROXY_CONFIG_XDS_AGENT"),
    "warnings of deprecated fields are logged": ("ENVOY_SKIP_DEPRECATED_LOGS",),
}
_PREFIXES = {
    "WASM_": "WebAssembly modules are not fetched",
    "XDS_HEADER_": "the control plane is shown the token alone",
}


def unheeded(given: Mapping[str, str]) -> Iterator[str]:
    """One line for each reason, with the variables that are set."""
    for reason, names in _REASONS.items():
        if found := [name for name in names if given.get(name)]:
            yield f"not acted on: {', '.join(found)}: {reason}"
    for prefix, reason in _PREFIXES.items():
        if found := sorted(name for name, value in given.items() if name.startswith(prefix) and value):
            yield f"not acted on: {', '.join(found)}: {reason}"
