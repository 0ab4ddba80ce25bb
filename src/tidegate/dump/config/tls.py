"""Transport sockets: what is asked of the client, what is said to the server."""

from tidegate.dump.config.matching import StringMatcher
from tidegate.dump.config.parts import Extension, Part


class SdsSecret(Part, frozen=True):
    name: str = ""


class TypedSan(Part, frozen=True):
    matcher: StringMatcher = StringMatcher()


class ValidationContext(Part, frozen=True):
    match_subject_alt_names: tuple[StringMatcher, ...] = ()
    match_typed_subject_alt_names: tuple[TypedSan, ...] = ()
    trusted_ca: dict[str, object] | None = None

    @property
    def sans(self) -> tuple[StringMatcher, ...]:
        return (*self.match_subject_alt_names, *(each.matcher for each in self.match_typed_subject_alt_names))


class CombinedValidation(Part, frozen=True):
    default_validation_context: ValidationContext = ValidationContext()
    validation_context_sds_secret_config: SdsSecret | None = None


class CommonTls(Part, frozen=True):
    tls_certificates: tuple[dict[str, object], ...] = ()
    tls_certificate_sds_secret_configs: tuple[SdsSecret, ...] = ()
    validation_context: ValidationContext | None = None
    validation_context_sds_secret_config: SdsSecret | None = None
    combined_validation_context: CombinedValidation | None = None
    alpn_protocols: tuple[str, ...] = ()

    @property
    def has_certificate(self) -> bool:
        return bool(self.tls_certificates or self.tls_certificate_sds_secret_configs)

    @property
    def certificates(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.tls_certificate_sds_secret_configs)

    @property
    def roots(self) -> tuple[str, ...]:
        combined = self.combined_validation_context
        found = combined.validation_context_sds_secret_config if combined else self.validation_context_sds_secret_config
        return (found.name,) if found else ()

    @property
    def validation(self) -> ValidationContext:
        if self.combined_validation_context:
            return self.combined_validation_context.default_validation_context
        return self.validation_context or ValidationContext()


class DownstreamTls(Part, frozen=True):
    """DownstreamTlsContext."""

    common_tls_context: CommonTls = CommonTls()
    require_client_certificate: bool = False
    require_sni: bool = False


class UpstreamTls(Part, frozen=True):
    """UpstreamTlsContext."""

    common_tls_context: CommonTls = CommonTls()
    sni: str = ""
    auto_host_sni: bool = False


class ProxyProtocolConfig(Part, frozen=True):
    version: str = "V1"


class Wrapping(Part, frozen=True):
    """Transport sockets around another one: upstream PROXY protocol, internal upstream, tap, HTTP/1.1 proxy."""

    config: ProxyProtocolConfig | None = None
    transport_socket: Extension | None = None
