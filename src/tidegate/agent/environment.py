"""From what a container or a machine's service is started with to one agent's settings: flags, the environment in
Istio's names, and the facts of the machine. Pure.

https://istio.io/latest/docs/reference/commands/pilot-agent/ lists the variables.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tidegate.agent import proxyconfig
from tidegate.agent.settings import PROXY_ID, InterceptionMode, Network, Ports, ProxyType, Settings
from tidegate.agent.unheeded import unheeded
from tidegate.api.fields import Duration
from tidegate.kit import hostport, peers
from tidegate.kit.bootstraps import ASKS, is_true
from tidegate.kit.errors import TidegateError

TOKEN = Path("/var/run/secrets/tokens/istio-token")
FIRST_PARTY_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
ROOTS = Path("/var/run/secrets/istio/root-cert.pem")
KUBERNETES_ROOTS = Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
SYSTEM_ROOTS = Path("/etc/ssl/certs/ca-certificates.crt")
STATE = Path("/var/lib/istio/data")
DISCOVERY_PORT = 15012
LONGEST_DRAIN = 3600.0
"""Seconds for a drain that ends with the last connection; whoever ends the pod knows how long it may take."""
MESH_DEFAULT = "the mesh configuration's defaultConfig"
_MINIMUM_DRAIN = "5s"
_UNNAMED = "istio-proxy"
"""ProxyConfig's serviceCluster where nobody has chosen one."""
_META, _META_JSON = "ISTIO_META_", "ISTIO_METAJSON_"
_MAPS = ("LABELS", "ANNOTATIONS")
_MOST_WORKERS = 256


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """The command line; "" and None where it says nothing."""

    type: ProxyType
    domain: str = ""
    """``NAMESPACE.svc.DOMAIN``."""
    service_cluster: str = ""
    concurrency: int | None = None
    log_level: str = "warning"
    component_log_level: str = ""
    log_as_json: bool = False
    outlier_log_path: str = ""
    run_dir: Path | None = None
    state_dir: Path | None = None
    token_file: Path | None = None
    discovery_address: str | None = None
    discovery_root: Path | None = None
    discovery_name: str | None = None


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where the agent finds itself."""

    hostname: str
    addresses: tuple[str, ...] = ()
    """Of its interfaces, without loopback and link-local ones."""
    cpus: int = 1
    changes_user: bool = False
    """May run Envoy as another user; a container runs both as the one that it was started as."""
    shares_output: bool = True
    """Envoy can open standard output by its path, as it does for access logs: no socket, and not another user's."""
    annotations: Mapping[str, str] = {}
    """The Pod's, from the downward API."""
    mesh_config: str = ""
    """The text of a ProxyConfig for all proxies of the machine."""


class Told(msgspec.Struct, frozen=True):
    """What an agent is to do, and what of what it was told is not acted on."""

    settings: Settings
    notes: tuple[str, ...]
    binary: str
    """Envoy's, as ProxyConfig names it."""
    environment: dict[str, str]
    """With what ProxyConfig's proxyMetadata adds."""


def told(flags: Flags, environment: Mapping[str, str], machine: Machine) -> Told:
    """An agent's settings; ``settings.envoy`` is the binary that ProxyConfig names.

    Raises TidegateError with the variable or flag, its value and what was expected.
    """
    config = proxyconfig.read(_configurations(environment, machine))
    given = {**config.typed.proxy_metadata, **environment}
    if is_true(given.get("DISABLE_ENVOY", "")):
        raise TidegateError(
            "DISABLE_ENVOY=true: gRPC applications without Envoy (template grpc-agent) are not served by this agent; "
            "inject them with the template sidecar"
        )
    reader = _Reader(flags, given, machine, config)
    settings = reader.settings()
    notes = [*config.notes, *unheeded(given)]
    if settings.own_log_file:
        notes.append(f"Envoy logs to {settings.log_file}: another user's standard output cannot be opened")
    if settings.knows_peers and not settings.locality:
        notes.append(
            f"ISTIO_META_{peers.ASKS} without effect: no label of the Pod says where it is; set "
            "topology.istio.io/locality (region.zone)"
        )
    return Told(settings, tuple(notes), config.typed.binary_path, dict(given))


def _configurations(environment: Mapping[str, str], machine: Machine) -> dict[str, str]:
    found = {MESH_DEFAULT: machine.mesh_config, "PROXY_CONFIG": environment.get("PROXY_CONFIG", "")}
    return {where: text for where, text in found.items() if text.strip()}


class _Reader:
    """One agent's flags, variables and ProxyConfig."""

    def __init__(
        self, flags: Flags, given: Mapping[str, str], machine: Machine, config: proxyconfig.Configuration
    ) -> None:
        self._flags, self._given, self._machine = flags, given, machine
        self._config, self._plain = config.typed, config.plain
        self._namespace = given.get("POD_NAMESPACE") or flags.domain.partition(".")[0] or "default"
        self._addresses = self._found_addresses()

    def settings(self) -> Settings:
        flags, config = self._flags, self._config
        return Settings(
            name=self._given.get("POD_NAME") or self._machine.hostname,
            namespace=self._namespace,
            address=self._addresses[0],
            other_addresses=self._addresses[1:],
            run_dir=flags.run_dir or Path("/") / config.config_path,
            state_dir=flags.state_dir or STATE,
            alone=True,
            token_file=flags.token_file or self._token(),
            upstream=self._upstream(),
            envoy=Path(config.binary_path),
            domain=self._domain(),
            type=flags.type,
            interception_mode=self._interception(),
            concurrency=self._workers(),
            log_level=flags.log_level,
            component_log_level=flags.component_log_level,
            log_as_json=flags.log_as_json,
            own_log_file=self._machine.changes_user or not self._machine.shares_output,
            service_cluster=flags.service_cluster or self._service_cluster(),
            outlier_log_path=flags.outlier_log_path,
            bootstrap_override=self._path("ISTIO_BOOTSTRAP_OVERRIDE"),
            asks_bootstrap=is_true(self._given.get(ASKS, "")),
            runtime_values=dict(config.runtime_values),
            stats_compression=config.stats_compression is not False,
            flush_seconds=_seconds(config.file_flush_interval, 0.25),
            flush_kilobytes=config.file_flush_min_size_kb,
            metadata=self._metadata(),
            ports=self._ports(),
            proxy_id=PROXY_ID if self._machine.changes_user else None,
            **self._draining(),
        )

    def _found_addresses(self) -> tuple[str, ...]:
        texts = ",".join(self._given.get(name, "") for name in ("INSTANCE_IP", "INSTANCE_IPS"))
        named = tuple(dict.fromkeys(text.strip() for text in texts.split(",") if text.strip()))
        found = tuple(dict.fromkeys((*named, *self._machine.addresses)))
        if not found:
            raise TidegateError("no address is known: set INSTANCE_IP, or give the machine's interface an address")
        return found

    def _token(self) -> Path:
        return FIRST_PARTY_TOKEN if self._given.get("JWT_POLICY") == "first-party-jwt" else TOKEN

    def _upstream(self) -> Path | Network:
        flags = self._flags
        annotated = self._machine.annotations.get("sidecar.istio.io/discoveryAddress", "")
        text = flags.discovery_address or annotated or self._config.discovery_address
        name = flags.discovery_name or self._given.get("ISTIOD_SAN", "")
        return upstream_of(text, flags.discovery_root or self._roots(), name)

    def _roots(self) -> Path:
        named, provider = self._given.get("XDS_ROOT_CA", ""), self._given.get("PILOT_CERT_PROVIDER", "")
        if named and named != "SYSTEM":
            return Path("/") / named
        if named or provider == "system":
            return SYSTEM_ROOTS
        return KUBERNETES_ROOTS if provider == "kubernetes" else ROOTS

    def _domain(self) -> str:
        if not self._flags.domain:
            return "cluster.local"
        namespace, _, domain = self._flags.domain.partition(".svc.")
        if not domain or namespace != self._namespace:
            raise TidegateError(
                f"--domain {self._flags.domain}: expected {self._namespace}.svc. and the cluster's domain"
            )
        return domain

    def _service_cluster(self) -> str:
        named, workload = self._config.service_cluster, self._given.get(f"{_META}WORKLOAD_NAME")
        if named and named != _UNNAMED:
            return named
        return f"{workload}.{self._namespace}" if workload else ""

    def _interception(self) -> InterceptionMode:
        mode = self._given.get(f"{_META}INTERCEPTION_MODE") or self._config.interception_mode.value
        if mode not in ("REDIRECT", "TPROXY", "NONE"):
            raise TidegateError(f"{_META}INTERCEPTION_MODE {mode!r}: expected REDIRECT, TPROXY or NONE")
        return mode  # type: ignore[return-value]

    def _workers(self) -> int:
        """As many as the flag, or ProxyConfig, says; 0 is all cores; else the container's limit says it."""
        asked = self._config.concurrency if self._flags.concurrency is None else self._flags.concurrency
        if asked is None:
            asked = min(self._limit(), self._machine.cpus)
        return min(asked or self._machine.cpus, _MOST_WORKERS)

    def _limit(self) -> int:
        text = self._given.get("ISTIO_CPU_LIMIT", "")
        try:
            return math.ceil(float(text)) if text else 0
        except (ValueError, OverflowError):
            raise TidegateError(f"ISTIO_CPU_LIMIT {text!r}: expected a number of processors") from None

    def _draining(self) -> dict[str, Any]:
        """How long a drain takes: ProxyConfig's time, or as long as there are connections."""
        config = self._config
        times: dict[str, Any] = {"envoy_drain_seconds": max(1, round(_seconds(config.drain_duration, 45)))}
        if not is_true(self._given.get("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "")):
            return {**times, "drain_seconds": _seconds(config.termination_drain_duration, 5)}
        least = self._given.get("MINIMUM_DRAIN_DURATION") or _MINIMUM_DRAIN
        try:
            least_seconds = Duration.parse(least).seconds
        except ValueError as error:
            raise TidegateError(f"MINIMUM_DRAIN_DURATION {least!r}: expected {error}") from None
        return {
            **times,
            "exit_on_zero_connections": True,
            "minimum_drain_seconds": least_seconds,
            "drain_seconds": LONGEST_DRAIN,
        }

    def _ports(self) -> Ports:
        usual, annotated = Ports(), self._machine.annotations.get("status.sidecar.istio.io/port", "")
        return Ports(
            admin=self._config.proxy_admin_port or usual.admin,
            status=_port("status.sidecar.istio.io/port", annotated) or self._config.status_port or usual.status,
            readiness=_port("ENVOY_STATUS_PORT", self._given.get("ENVOY_STATUS_PORT", "")) or usual.readiness,
            prometheus=_port("ENVOY_PROMETHEUS_PORT", self._given.get("ENVOY_PROMETHEUS_PORT", "")) or usual.prometheus,
        )

    def _path(self, name: str) -> Path | None:
        text = self._given.get(name, "")
        return Path("/") / text if text else None

    def _metadata(self) -> dict[str, Any]:
        given = self._given
        plain = {name.removeprefix(_META): value for name, value in given.items() if name.startswith(_META)}
        joined = dict(each for pair in _maps(given) for each in pair.items())
        said: dict[str, Any] = {"PROXY_CONFIG": self._plain}
        for name in ("SERVICE_ACCOUNT", "EXIT_ON_ZERO_ACTIVE_CONNECTIONS"):
            if given.get(name):
                said[name] = given[name]
        if self._config.mesh_id:
            said["MESH_ID"] = self._config.mesh_id
        return said | plain | joined


def upstream_of(text: str, roots: Path, name: str) -> Path | Network:
    """``unix:PATH``, or HOST[:PORT] over TLS; ``name`` is the one that the certificate must have, "" for the host.

    Raises TidegateError.
    """
    if text.startswith("unix:"):
        return Path(text.removeprefix("unix:").removeprefix("//"))
    address = hostport.parse(text, DISCOVERY_PORT, "discovery address")
    return Network(address, roots, name or address.host)


def _maps(given: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """ISTIO_METAJSON_…: objects, whose fields become the node's; labels and annotations stay together."""
    for name, text in given.items():
        if not name.startswith(_META_JSON):
            continue
        try:
            found = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise TidegateError(f"{name}: expected a JSON object: {error}") from None
        short = name.removeprefix(_META_JSON)
        yield {short: found} if short in _MAPS else found


def _seconds(duration: Duration | None, default: float) -> float:
    return duration.seconds if duration is not None else default


def _port(name: str, text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise TidegateError(f"{name} {text!r}: expected a port number")
    return int(text)
