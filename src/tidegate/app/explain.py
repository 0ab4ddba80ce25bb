"""What becomes of one connection: a world from manifests, a proxy's configuration, packet rules, and the answer."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tidegate.answer.absence import LeftOut
from tidegate.answer.case import POLICY, Case
from tidegate.answer.origins import Origins, Place, Recorded, Source, Told
from tidegate.answer.pods import PodFacts, pod_facts
from tidegate.answer.question import Asked, Question, ask
from tidegate.answer.report import Report, bypassed, report, unproxied, unresolved
from tidegate.api.objects import Ref
from tidegate.app.compile import Compiled, compile_proxy
from tidegate.app.findings import Severity
from tidegate.app.manifests import Manifests, load, parse
from tidegate.app.offline import Offline, Settings, build
from tidegate.app.proxyspec import ProxySpec
from tidegate.app.reading import raw_objects
from tidegate.explain.config import EnvoyConfig, read_config
from tidegate.explain.interpret import interpret
from tidegate.kit.errors import TidegateError
from tidegate.registry.model import Workload
from tidegate.rules.annotations import capture_options
from tidegate.rules.capture_rules import rule_set
from tidegate.rules.model import RuleSet
from tidegate.rules.options import InvalidCaptureOptionsError, Surroundings
from tidegate.rules.walk import Hook, Packet, Walk, walk
from tidegate.scope.proxy import Interception

LIVE = "<api server>"
"""Stands for the file of objects that were read from an API server."""
_CAPTURES = ("redirect", "tproxy")
_MOST_TOLD = 3
"""Reasons that are told of a dump which cannot be used."""


class World(msgspec.Struct, frozen=True):
    """A world, and the documents that it was read from."""

    offline: Offline
    manifests: Manifests


def from_manifests(paths: Iterable[str], settings: Settings) -> World:
    """Of files, folders and ``-``. Raises TidegateError."""
    given = load(paths)
    return World(build(given, settings), given)


def from_store(kubeconfig: Path, settings: Settings) -> World:
    """Of an API server, as it stands there. Raises TidegateError when it does not answer."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(raw_objects(kubeconfig))})
    given = parse(listed, LIVE)
    return World(build(given, msgspec.structs.replace(settings, judged=False)), given)


def empty(settings: Settings) -> World:
    """A world without objects, for a configuration about which nothing else is known."""
    given = Manifests(())
    return World(build(given, settings), given)


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an answer is taken from; one scene answers any number of questions."""

    compiled: Compiled
    config: EnvoyConfig
    origins: Origins
    rules: RuleSet | None
    """None: not known, so that every connection counts as captured."""
    left_out: tuple[LeftOut, ...]
    place: Place
    pods: Mapping[Ref, PodFacts] = {}


def scene(
    offline: Offline,
    given: Manifests,
    spec: ProxySpec,
    *,
    foreign: bytes | dict[str, Any] | None = None,
    rules: RuleSet | None = None,
    certificates: bool = True,
) -> Scene:
    """Prepare for questions about one proxy.

    foreign: what some Envoy was told (a config dump, istiod's included), instead of our own configuration. Text that
        is cut short is read up to the cut, which the answer names.
    rules: what its kernel holds; by default what the Pod's annotations ask for.
    """
    compiled = compile_proxy(offline, spec, certificates=certificates)
    return Scene(
        compiled=compiled,
        config=read_config(compiled.config_dump()) if foreign is None else _told(foreign),
        origins=Recorded(compiled.view.get, compiled.world) if foreign is None else Told(compiled.world),
        rules=rules if rules is not None else _rules(compiled, spec),
        left_out=tuple(_left_out(offline, given)),
        place=lambda ref, field: _place(offline, ref, field),
        pods=pod_facts(document.raw for document in given.documents),
    )


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
    """The answer. Raises TidegateError for a question that cannot be."""
    compiled = scene.compiled
    asked = ask(compiled.world, compiled.proxy, question)
    if not asked.connection.ip:
        return unresolved(asked, compiled.proxy, scene.place)
    outside = _outside(scene, asked)
    if outside is not None:
        return unproxied(asked, compiled.proxy.name, *outside, scene.place)
    captured = _walk(scene, asked)
    if captured is not None and captured.verdict not in _CAPTURES:
        deciding = _by_annotation(scene, captured)
        return bypassed(asked, compiled.proxy.name, captured, deciding, scene.place)
    case = Case(
        world=compiled.world,
        proxy=compiled.proxy,
        connection=asked.connection,
        intent=asked.intent,
        trace=interpret(scene.config, asked.connection),
        left_out=scene.left_out,
        pods=scene.pods,
    )
    return report(case, asked, scene.origins, scene.place, captured)


# Packet rules


def _outside(scene: Scene, asked: Asked) -> tuple[Source, str] | None:
    """Why nothing redirects the connections of the proxy's Pod at all, by its manifest."""
    ref = scene.compiled.proxy.workload
    facts = scene.pods.get(ref) if ref is not None else None
    if ref is None or facts is None or asked.connection.direction == "gateway":
        return None
    if facts.host_network:
        return Source(ref, "spec.hostNetwork"), "its Pod is in its node's network"
    return (Source(ref, facts.uninjected), "its Pod gets no sidecar") if facts.uninjected else None


def _rules(compiled: Compiled, spec: ProxySpec) -> RuleSet | None:
    """What a sidecar's Pod asks for; None for a gateway and for what is no Pod."""
    workload = compiled.world.workloads.get(compiled.proxy.workload) if compiled.proxy.workload else None
    if workload is None or spec.type == "router" or compiled.proxy.kind.interception is Interception.NONE:
        return None
    try:
        return rule_set(capture_options(dict(workload.annotations), _environment(spec)), Surroundings())
    except InvalidCaptureOptionsError:
        return None


def _environment(spec: ProxySpec) -> dict[str, str]:
    return {f"ISTIO_META_{key}": str(value) for key, value in spec.metadata.items() if isinstance(value, (str, bool))}


def _walk(scene: Scene, asked: Asked) -> Walk | None:
    """The way of the first packet through the packet rules, as far as they are known."""
    connection = asked.connection
    if scene.rules is None or connection.direction == "gateway" or ":" in connection.ip:
        return None
    inbound = connection.direction == "inbound"
    own = scene.compiled.proxy.addresses
    local = connection.ip in own or connection.ip.startswith("127.")
    hook: Hook = "PREROUTING" if inbound else "OUTPUT"
    packet = Packet(
        connection.ip,
        connection.port,
        protocol=connection.transport,
        source=connection.source_ip or ("" if inbound else own[0]),
        in_interface="eth0" if inbound else "",
        out_interface="" if inbound else "lo" if local else "eth0",
        uid=None if inbound else asked.question.user,
        gid=None if inbound else asked.question.user,
        local=local,
    )
    return walk(scene.rules, packet, hook)


def _by_annotation(scene: Scene, captured: Walk) -> Source | None:
    """The annotation of the Pod whose value the deciding rule carries."""
    ref = scene.compiled.proxy.workload
    workload: Workload | None = scene.compiled.world.workloads.get(ref) if ref else None
    if workload is None:
        return None
    words = captured.deciding.rule.specification.replace("/", " ").split() if captured.deciding else []
    for name, value in workload.annotations:
        listed = [part.strip().partition("/")[0] for part in value.split(",")]
        if name.startswith("traffic.sidecar.istio.io/") and any(each in words for each in listed if each):
            return Source(workload.ref, f"metadata.annotations[{name}]")
    inbound = any(visit.chain == "PREROUTING" for visit in captured.visits) or not captured.visits
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


def _names(raw: dict[str, Any]) -> Iterator[str]:
    """How findings may call the object: a missing namespace is filled in by then."""
    meta = raw.get("metadata") if isinstance(raw.get("metadata"), dict) else {}
    if meta and raw.get("kind") and meta.get("name"):
        yield f"{raw['kind']}/{meta.get('namespace') or 'default'}/{meta['name']}"


def _hosts(spec: dict[str, Any]) -> Iterable[str]:
    listed = spec.get("hosts") if isinstance(spec.get("hosts"), list) else [spec.get("host")]
    return (each for each in listed or () if isinstance(each, str))
