"""What becomes of one connection: a world from manifests, a proxy's configuration, packet rules, and the answer."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from tidegate.agent.dnstable import Names
from tidegate.answer.absence import LeftOut
from tidegate.answer.case import POLICY, Case
from tidegate.answer.interception import refuser
from tidegate.answer.origins import Origins, Place, Recorded, Source, Told
from tidegate.answer.pods import PodFacts, pod_facts
from tidegate.answer.question import USER, Asked, NameServer, Question, ask, at
from tidegate.answer.report import Captured, Report, bypassed, elsewhere, refused, report, unproxied, unresolved
from tidegate.api.objects import Ref
from tidegate.app.diagnosis.delivery import assuming, delivered, without_secrets
from tidegate.app.offline.compile import Compiled, compile_proxy
from tidegate.app.offline.findings import Severity
from tidegate.app.offline.manifests import Document, Manifests, load
from tidegate.app.offline.proxyspec import ProxySpec
from tidegate.app.offline.world import Offline, Settings, build
from tidegate.explain.config import EnvoyConfig, read_config
from tidegate.explain.interpret import interpret
from tidegate.explain.listeners import bound_to
from tidegate.kit import nametable
from tidegate.kit.errors import TidegateError
from tidegate.registry.model import Workload
from tidegate.rules.annotations import MODE, capture_options
from tidegate.rules.capture_rules import rule_set
from tidegate.rules.model import Family, RuleSet
from tidegate.rules.options import InvalidCaptureOptionsError, Surroundings
from tidegate.rules.saved import RuleSets
from tidegate.rules.walk import Packet, Walk, journey
from tidegate.scope.proxy import Interception, Proxy
from tidegate.snapshot.discovery import NOT_SEEN

LIVE = "<api server>"
"""Stands for the file of objects that were read from an API server."""
_CAPTURES = ("redirect", "tproxy")
_MOST_ADDRESSES = 8
"""Further addresses of a name that are looked at."""
_MOST_TOLD = 3
"""Reasons that are told of a dump which cannot be used."""


class World(msgspec.Struct, frozen=True):
    """A world, and what it was made from."""

    offline: Offline
    manifests: Manifests
    settings: Settings


def from_manifests(paths: Iterable[str], settings: Settings) -> World:
    """Of files, folders and ``-``. Raises TidegateError."""
    given = load(paths)
    return World(build(given, settings), given, settings)


def from_store(kubeconfig: Path, settings: Settings) -> World:
    """Of an API server, as it stands there. Raises TidegateError when it does not answer."""
    from tidegate.app.diagnosis.reading import raw_objects  # an HTTP client, which worlds of files do without

    given = Manifests(tuple(Document(raw, LIVE) for raw in raw_objects(kubeconfig)))
    taken = msgspec.structs.replace(settings, judged=False)
    return World(build(given, taken), given, taken)


def empty(settings: Settings) -> World:
    """A world without objects, for a configuration about which nothing else is known."""
    given = Manifests(())
    return World(build(given, settings), given, settings)


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an answer is taken from; one scene answers any number of questions."""

    compiled: Compiled
    config: EnvoyConfig
    origins: Origins
    rules: RuleSets | None
    """By address family; one that is not there is not known, so that its connections count as captured."""
    left_out: tuple[LeftOut, ...]
    place: Place
    pods: Mapping[Ref, PodFacts] = {}
    names: NameServer | None = None
    """Of a proxy that answers its workload's name queries."""
    taken: frozenset[str] = frozenset()
    """Secrets that are taken as delivered."""


def scene(
    offline: Offline,
    given: Manifests,
    spec: ProxySpec,
    *,
    foreign: bytes | dict[str, Any] | None = None,
    rules: RuleSets | None = None,
    certificates: bool = True,
) -> Scene:
    """Prepare for questions about one proxy.

    foreign: what some Envoy was told (a config dump, istiod's included), instead of our own configuration. Text that
        is cut short is read up to the cut, which the answer names.
    rules: what its kernel holds; by default what the Pod's annotations ask for.
    """
    compiled = compile_proxy(offline, spec, certificates=certificates)
    own, taken = _own(compiled, given) if foreign is None else ({}, frozenset[str]())
    return Scene(
        compiled=compiled,
        config=read_config(own) if foreign is None else _told(foreign),
        origins=Recorded(compiled.view.get, compiled.world) if foreign is None else Told(compiled.world),
        rules=rules if rules is not None else _rules(compiled, spec),
        left_out=tuple(_left_out(offline, given)),
        place=lambda ref, field: _place(offline, ref, field),
        pods=pod_facts((ref, document.raw) for ref, document in offline.documents.items()),
        names=_name_server(compiled) if compiled.proxy.kind.dns_capture else None,
        taken=taken,
    )


def _own(compiled: Compiled, given: Manifests) -> tuple[dict[str, Any], frozenset[str]]:
    """What the proxy would run, and the secrets that are taken as delivered, since the manifests have none at all."""
    dump = compiled.config_dump()
    if any(each.file == LIVE for each in given.documents[:1]) or not without_secrets(compiled):
        return dump, frozenset()
    return delivered(dump)


def _name_server(compiled: Compiled) -> NameServer:
    """What the agent beside the proxy answers, from the name table that it is sent."""
    view, domain = compiled.view, compiled.proxy.kind.dns_domain

    @cache
    def table() -> Names:
        resources = (view.get(nametable.TYPE_URL, name) for name in view.names(nametable.TYPE_URL))
        found = (nametable.decode(each.name, each.body) for each in resources if each is not None)
        return Names({name: info for part in found for name, info in part.items()}, domain)

    def answer(name: str) -> tuple[str, ...] | None:
        info = table().lookup(name.lower().rstrip("."))
        return info.ips if info is not None else None

    return answer


def _told(foreign: bytes | dict[str, Any]) -> EnvoyConfig:
    config = read_config(foreign)
    if "listeners" not in config.present:
        why = "".join(f"; {each.where}: {each.why}" for each in config.unknown[:_MOST_TOLD])
        raise TidegateError(f"the configuration dump has no listeners, so nothing can be said of a connection{why}")
    return config


def _place(offline: Offline, ref: Ref, field: str) -> str:
    """Where an object's field is written; "" for what comes from an API server, or from nowhere."""
    found = offline.mesh_place(ref.name) if ref.kind == POLICY.kind else offline.place(ref, field)
    return str(found) if found is not None and found.file != LIVE else ""


def explain(scene: Scene, question: Question) -> Report:
    """The answer; of a name with several addresses, what would be otherwise at another one too.

    Raises TidegateError for a question that cannot be.
    """
    asked = _ask(scene, question)
    found = _answer(scene, asked)
    others = [(ip, _answer(scene, _ask(scene, at(question, ip)))) for ip in asked.others[:_MOST_ADDRESSES]]
    return assuming(elsewhere(found, others), scene.taken)


def _ask(scene: Scene, question: Question) -> Asked:
    return ask(scene.compiled.world, scene.compiled.proxy, question, scene.names)


def _answer(scene: Scene, asked: Asked) -> Report:
    compiled = scene.compiled
    if not asked.connection.ip:
        return unresolved(asked, compiled.proxy, scene.place, _near(scene, asked.question.to))
    outside = _outside(scene, asked)
    if outside is not None:
        past = unproxied(asked, compiled.proxy.name, *outside, scene.place)
        return refused(past, _refuser(scene, asked), scene.place)
    connection, captured = asked.connection, _walk(scene, asked)
    if captured is not None and captured.walk.verdict not in _CAPTURES:
        if captured.walk.verdict == "drop" or not _own_socket(scene, asked):
            deciding = _by_annotation(scene, asked, captured.walk)
            past = bypassed(asked, compiled.proxy.name, captured, deciding, scene.place)
            return past if captured.walk.verdict == "drop" else refused(past, _refuser(scene, asked), scene.place)
        connection = msgspec.structs.replace(connection, captured=False)
    elif captured is not None and captured.walk.verdict == "tproxy":
        connection = msgspec.structs.replace(connection, transparent=True)
    case = Case(
        world=compiled.world,
        proxy=compiled.proxy,
        connection=connection,
        intent=asked.intent,
        trace=interpret(scene.config, connection),
        left_out=scene.left_out,
        pods=scene.pods,
    )
    return report(case, asked, scene.origins, scene.place, captured)


def _near(scene: Scene, name: str) -> list[str]:
    """Declared hosts with the same first label."""
    short = name.partition(".")[0].lower()
    return sorted(host for host in scene.compiled.world.by_host if host.partition(".")[0] == short)[:_MOST_TOLD]


# Packet rules


def _refuser(scene: Scene, asked: Asked) -> Ref | None:
    """Who refuses, at the far side, what comes to it without mutual TLS of the mesh."""
    to = asked.connection
    if to.direction != "outbound" or to.transport != "tcp" or _is_local(scene, to.ip):
        return None
    return refuser(scene.compiled.world, to.ip, to.port)


def _outside(scene: Scene, asked: Asked) -> tuple[Source, str] | None:
    """Why nothing redirects the connections of the proxy's Pod at all, by its manifest."""
    ref = scene.compiled.proxy.workload
    facts = scene.pods.get(ref) if ref is not None else None
    if ref is None or facts is None or asked.connection.direction == "gateway":
        return None
    if facts.host_network:
        return Source(ref, "spec.hostNetwork"), "its Pod is in its node's network"
    return (Source(ref, facts.uninjected), "its Pod gets no sidecar") if facts.uninjected else None


def _rules(compiled: Compiled, spec: ProxySpec) -> RuleSets | None:
    """What a sidecar's Pod asks for, in its address families; None for a gateway and for what is no Pod."""
    workload = compiled.world.workloads.get(compiled.proxy.workload) if compiled.proxy.workload else None
    if workload is None or spec.type == "router":
        return None
    families = _families(compiled.proxy)
    if compiled.proxy.kind.interception is Interception.NONE:
        return {family: RuleSet(family) for family in families}
    try:
        said = {**dict(workload.annotations), MODE: compiled.proxy.kind.interception.value}
        options = capture_options(said, _environment(spec))
        return {family: rule_set(options, Surroundings(ipv6="ipv6" in families), family) for family in families}
    except InvalidCaptureOptionsError:
        return None


def _families(proxy: Proxy) -> tuple[Family, ...]:
    has: dict[Family, bool] = {"ipv4": proxy.kind.ipv4, "ipv6": proxy.kind.ipv6}
    return tuple(family for family, present in has.items() if present)


def _environment(spec: ProxySpec) -> dict[str, str]:
    return {f"ISTIO_META_{key}": str(value) for key, value in spec.metadata.items() if isinstance(value, (str, bool))}


def _walk(scene: Scene, asked: Asked) -> Captured | None:
    """The way of the first packet through the packet rules, as far as they are known."""
    connection = asked.connection
    rules = scene.rules.get("ipv6" if ":" in connection.ip else "ipv4") if scene.rules is not None else None
    if rules is None or connection.direction == "gateway":
        return None
    inbound, local = connection.direction == "inbound", _is_local(scene, connection.ip)
    user, group = _caller(scene, asked)
    packet = Packet(
        connection.ip,
        connection.port,
        protocol=connection.transport,
        source=connection.source_ip or ("" if inbound else _own_address(scene, connection.ip)),
        in_interface="eth0" if inbound else "",
        out_interface="" if inbound else "lo" if local else "eth0",
        uid=None if inbound else user,
        gid=None if inbound else group,
        local=local,
    )
    return Captured(journey(rules, packet, inbound=inbound), rules.tables)


def _caller(scene: Scene, asked: Asked) -> tuple[int, int]:
    """User and group of the calling process: as asked, else as its Pod says."""
    if asked.question.user is not None:
        return asked.question.user, asked.question.user
    facts = _facts(scene)
    user = facts.user if facts is not None and facts.user is not None else USER
    return user, facts.group if facts is not None and facts.group is not None else user


def _facts(scene: Scene) -> PodFacts | None:
    """What the manifest of the proxy's Pod tells."""
    ref = scene.compiled.proxy.workload
    return scene.pods.get(ref) if ref is not None else None


def _is_local(scene: Scene, ip: str) -> bool:
    return ip in scene.compiled.proxy.addresses or ip == "::1" or ip.startswith("127.")


def _own_address(scene: Scene, towards: str) -> str:
    """The address that the workload sends from: of the same family."""
    return next((each for each in scene.compiled.proxy.addresses if (":" in each) == (":" in towards)), "")


def _own_socket(scene: Scene, asked: Asked) -> bool:
    """Whether the proxy itself listens where packet rules let the connection go."""
    to = asked.connection
    return _is_local(scene, to.ip) and bound_to(scene.config, to.ip, to.port, to.transport.upper()) is not None


def _by_annotation(scene: Scene, asked: Asked, captured: Walk) -> Source | None:
    """The annotation of the Pod whose value the deciding rule carries, or that asks for no rules at all."""
    ref = scene.compiled.proxy.workload
    workload: Workload | None = scene.compiled.world.workloads.get(ref) if ref else None
    if workload is None:
        return None
    if scene.compiled.proxy.kind.interception is Interception.NONE:
        said = any(name == MODE for name, _ in workload.annotations)
        return Source(workload.ref, f"metadata.annotations[{MODE}]" if said else "")
    words = captured.deciding.rule.specification.replace("/", " ").split() if captured.deciding else []
    facts, inbound = _facts(scene), asked.connection.direction == "inbound"
    if facts is not None and not inbound and asked.question.user is None:
        by_owner = facts.user_field if "--uid-owner" in words else facts.group_field if "--gid-owner" in words else ""
        if by_owner:
            return Source(workload.ref, by_owner)
    for name, value in workload.annotations:
        listed = [part.strip().partition("/")[0] for part in value.split(",")]
        if name.startswith("traffic.sidecar.istio.io/") and any(each in words for each in listed if each):
            return Source(workload.ref, f"metadata.annotations[{name}]")
    wanted = "/includeInboundPorts" if inbound else "/includeOutboundIPRanges"
    included = next((n for n, _ in workload.annotations if n.endswith(wanted)), None)
    return Source(workload.ref, f"metadata.annotations[{included}]" if included else "")


# What admission refused


def _left_out(offline: Offline, given: Manifests) -> Iterator[LeftOut]:
    """Objects with hosts that did not come into the world, and the first error of each."""
    reasons: dict[str, str] = {}
    for each in offline.findings:
        if each.severity is Severity.ERROR and each.object:
            reasons.setdefault(each.object, f"{each.field}: {each.message}" if each.field else each.message)
    for document in given.documents:
        raw = document.raw
        if not isinstance(raw, dict) or not isinstance(raw.get("spec"), dict):
            continue
        for name in _names(raw):
            if name in reasons:
                kind, namespace, own = name.split("/", 2)
                yield LeftOut(Ref(kind, namespace, own), tuple(_hosts(raw["spec"])), reasons[name])
    yield from _set_aside(offline)


def _set_aside(offline: Offline) -> Iterator[LeftOut]:
    """ServiceEntries and VirtualServices of which a part does not count, Services that are not seen, and why."""
    world = offline.hub.world
    for ref, problems in world.problems().items():
        rule, document = world.virtual_services.get(ref), offline.documents.get(ref)
        hosts: Iterable[str] = rule.spec.hosts if rule is not None else ()
        if ref.kind == "ServiceEntry" and document is not None and isinstance(document.raw, dict):
            spec = document.raw.get("spec")
            hosts = _hosts(spec) if isinstance(spec, dict) else ()
        elif ref.kind == "Service" and any(text.startswith(NOT_SEEN) for text in problems):
            short = f"{ref.name}.{ref.namespace}"
            hosts = (short, f"{short}.svc", f"{short}.svc.{world.domain}")
        names = tuple(hosts)
        yield from (LeftOut(ref, names, problem, valid=True) for problem in problems if names)


def _names(raw: dict[str, Any]) -> Iterator[str]:
    """How findings may call the object: a missing namespace is filled in by then."""
    meta = raw.get("metadata") if isinstance(raw.get("metadata"), dict) else {}
    if meta and raw.get("kind") and meta.get("name"):
        yield f"{raw['kind']}/{meta.get('namespace') or 'default'}/{meta['name']}"


def _hosts(spec: dict[str, Any]) -> Iterable[str]:
    listed = spec.get("hosts") if isinstance(spec.get("hosts"), list) else [spec.get("host")]
    return (each for each in listed or () if isinstance(each, str))
