"""Gateway, and what a server's TLS is."""

import enum
from typing import Annotated

from msgspec import field

from tidegate.api.fields import Message, UInt32, doc


class ServerTLSSettingsMode(enum.StrEnum):
    PASSTHROUGH = "PASSTHROUGH"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    AUTO_PASSTHROUGH = "AUTO_PASSTHROUGH"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"
    OPTIONAL_MUTUAL = "OPTIONAL_MUTUAL"


class MinProtocolVersion(enum.StrEnum):
    TLS_AUTO = "TLS_AUTO"
    TLSV1_0 = "TLSV1_0"
    TLSV1_1 = "TLSV1_1"
    TLSV1_2 = "TLSV1_2"
    TLSV1_3 = "TLSV1_3"


class TLSCertificate(Message, frozen=True):
    """networking.v1alpha3.ServerTLSSettings.TLSCertificate."""

    server_certificate: Annotated[str, doc("cert path")] = ""
    private_key: Annotated[str, doc("key path")] = ""
    ca_certificates: Annotated[str, doc("unused")] = ""


class ServerTLSSettings(Message, frozen=True):
    """networking.v1alpha3.ServerTLSSettings."""

    https_redirect: Annotated[bool, doc("301 to https")] = False
    mode: Annotated[ServerTLSSettingsMode, doc("TLS mode")] = ServerTLSSettingsMode.PASSTHROUGH
    server_certificate: Annotated[str, doc("cert path")] = ""
    private_key: Annotated[str, doc("key path")] = ""
    ca_certificates: Annotated[str, doc("client CA path")] = ""
    ca_crl: Annotated[str, doc("CRL path")] = ""
    credential_name: Annotated[str, doc("secret name; CA under <name>-cacert")] = ""
    credential_names: Annotated[tuple[str, ...], doc("secrets for RSA and ECDSA", max_items=2, min_items=1)] = ()
    ca_cert_credential_name: Annotated[str, doc("CA secret/configmap")] = ""
    tls_certificates: Annotated[
        tuple[TLSCertificate, ...], doc("several file cert pairs", max_items=2, min_items=1)
    ] = ()
    subject_alt_names: Annotated[tuple[str, ...], doc("accepted client SANs")] = ()
    verify_certificate_spki: Annotated[tuple[str, ...], doc("accepted SPKI hashes")] = ()
    verify_certificate_hash: Annotated[tuple[str, ...], doc("accepted cert hashes")] = ()
    min_protocol_version: Annotated[MinProtocolVersion, doc("lowest TLS")] = MinProtocolVersion.TLS_AUTO
    max_protocol_version: Annotated[MinProtocolVersion, doc("highest TLS")] = MinProtocolVersion.TLS_AUTO
    cipher_suites: Annotated[tuple[str, ...], doc("allowed ciphers")] = ()
    insecure_skip_verify: Annotated[bool | None, doc("skip client verification")] = None
    ecdh_curves: Annotated[tuple[str, ...], doc("curves")] = ()


class Port(Message, frozen=True):
    """networking.v1alpha3.Port."""

    number: Annotated[UInt32, doc("port number", required=True)] = 0
    protocol: Annotated[str, doc("server protocol: HTTP HTTPS GRPC GRPC-WEB HTTP2 MONGO TCP TLS", required=True)] = ""
    name: Annotated[str, doc("unique port name", required=True)] = ""
    target_port: Annotated[UInt32, doc("unused", deprecated=True)] = 0


class Server(Message, frozen=True):
    """networking.v1alpha3.Server."""

    port: Annotated[Port | None, doc("listen port", required=True)] = None
    bind: Annotated[str, doc("IP to bind")] = ""
    hosts: Annotated[tuple[str, ...], doc("[ns/]dnsName served; ns . * or name", required=True)] = ()
    tls: Annotated[ServerTLSSettings | None, doc("TLS settings")] = None
    default_endpoint: Annotated[str, doc("unused")] = ""
    name: Annotated[str, doc("server name, used in stat prefix")] = ""


class Gateway(Message, frozen=True):
    """networking.v1alpha3.Gateway."""

    servers: Annotated[tuple[Server, ...], doc("listening servers")] = ()
    selector: Annotated[dict[str, str], doc("labels of gateway pods")] = field(default_factory=dict)
