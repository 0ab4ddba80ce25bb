"""What an injector is told: the values of an installation, the mesh configuration, and how the cluster is."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tidegate import __version__
from tidegate.api import meshconfig
from tidegate.api.yamltext import YamlError, read_yaml
from tidegate.kit.errors import TidegateError

Json = dict[str, Any]

DEFAULT_REVISION = "default"
_RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2000m", "memory": "1024Mi"}}

DEFAULT_VALUES: Json = {
    "global": {
        "hub": "localhost/tidegate",
        "tag": __version__,
        "variant": "",
        "imagePullPolicy": "",
        "imagePullSecrets": [],
        "istioNamespace": "istio-system",
        "caAddress": "",
        "caName": "",
        "logAsJson": False,
        "logging": {"level": "default:info"},
        "meshID": "",
        "mountMtlsCerts": False,
        "multiCluster": {"clusterName": ""},
        "nativeNftables": False,
        "network": "",
        "pilotCertProvider": "istiod",
        "proxy": {
            "autoInject": "enabled",
            "clusterDomain": "cluster.local",
            "componentLogLevel": "misc:error",
            "excludeIPRanges": "",
            "excludeInboundPorts": "",
            "excludeOutboundPorts": "",
            "image": "proxyv2",
            "includeIPRanges": "*",
            "includeInboundPorts": "*",
            "includeOutboundPorts": "",
            "logLevel": "warning",
            "outlierLogPath": "",
            "privileged": False,
            "readinessFailureThreshold": 4,
            "readinessInitialDelaySeconds": 0,
            "readinessPeriodSeconds": 15,
            "resources": _RESOURCES,
            "seccompProfile": {},
            "startupProbe": {"enabled": True, "failureThreshold": 600},
            "statusPort": 15020,
            "tracer": "none",
        },
        "proxy_init": {"image": "proxyv2", "forceApplyIptables": False},
        "sds": {"token": {"aud": "istio-ca"}},
        "sts": {"servicePort": 0},
    },
    "pilot": {"cni": {"enabled": False, "provider": "default"}},
    "gateways": {"securityContext": {}, "seccompProfile": {}},
    "revision": "",
    "sidecarInjectorWebhook": {
        "aliases": {},
        "alwaysInjectSelector": [],
        "neverInjectSelector": [],
        "defaultTemplates": [],
        "enableNamespacesByDefault": False,
        "injectedAnnotations": {},
        "rewriteAppHTTPProbe": True,
        "templates": {},
    },
}
"""Istio's chart values that have a bearing on injection, with Istio's defaults; the image is our own."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """An injector's settings; the same for every pod."""

    values: Json
    """Over ``DEFAULT_VALUES``, complete."""
    mesh: Json
    """MeshConfig as JSON, over Istio's defaults."""
    native: bool = True
    """Whether sidecars are init containers with restartPolicy Always unless a pod says otherwise."""
    platform: str = ""
    """``openshift`` has user ids of its own."""
    compliance_policy: str = ""

    @property
    def revision(self) -> str:
        return str(self.value("revision") or DEFAULT_REVISION)

    @property
    def proxy_defaults(self) -> Json:
        """The mesh's ``defaultConfig``."""
        found: Json = self.mesh.get("defaultConfig") or {}
        return found

    def value(self, path: str, default: Any = None) -> Any:
        """A value by its dotted path, as ``global.proxy.image``."""
        return at(self.values, path, default)


def settings(values: Json | None = None, mesh: Json | None = None, **others: Any) -> Settings:
    """Settings whose values and mesh configuration are given as far as they differ from the defaults."""
    made = merged(DEFAULT_VALUES, values or {})
    return Settings(values=made, mesh=merged(meshconfig.base(), mesh or {}), **others)


def at(tree: Any, path: str, default: Any = None) -> Any:
    """What stands at a dotted path of a tree of mappings."""
    for name in path.split("."):
        if not isinstance(tree, Mapping) or tree.get(name) is None:
            return default
        tree = tree[name]
    return tree


def merged(base: Json, over: Json) -> Json:
    """``over`` on ``base``, mapping by mapping; null takes a default away, as Helm has it."""
    out = dict(base)
    for key, value in over.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merged(out[key], value)
        else:
            out[key] = value
    return out


def parse_set(texts: tuple[str, ...]) -> Json:
    """Values from Helm's ``--set`` form ``a.b=c,d.e=f``. Raises TidegateError for what is not."""
    out: Json = {}
    for text in texts:
        for part in _assignments(text):
            path, equals, value = part.partition("=")
            names = path.strip().split(".")
            if not equals or not all(names):
                raise TidegateError(f"--set {text}: expected name.name=value")
            out = merged(out, _nested(names, _typed(value)))
    return out


def _assignments(text: str) -> list[str]:
    """Parts between commas; a comma that ``\\,`` hides, or that no assignment follows, belongs to the value."""
    parts: list[str] = []
    for piece in text.replace("\\,", "\0").split(","):
        if parts and "=" not in piece:
            parts[-1] += "," + piece
        else:
            parts.append(piece)
    return [part.replace("\0", ",") for part in parts]


def _nested(names: list[str], value: Any) -> Json:
    for name in reversed(names):
        value = {name: value}
    return dict(value)


def _typed(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    if text == "null":
        return None
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 19 else text


def from_installation(document: Any, where: str) -> Json:
    """Values of an installation's file: plain values, or an IstioOperator's ``spec.values`` with what its spec says
    beside them. ``meshConfig`` stands in them as in the chart's values."""
    if not isinstance(document, dict):
        raise TidegateError(f"{where}: expected values, or an IstioOperator, as a YAML mapping")
    if document.get("kind") != "IstioOperator":
        return _shaped(document, where)
    spec = document.get("spec")
    values: Any = at(spec, "values", {})
    if not isinstance(values, dict):
        raise TidegateError(f"{where}: spec.values: expected a mapping")
    for path, target in _OF_SPEC.items():
        if (found := at(spec, path)) is not None:
            values = merged(_nested(target.split("."), found), values)
    return _shaped(values, where)


_OF_SPEC = {
    "hub": "global.hub",
    "tag": "global.tag",
    "revision": "revision",
    "namespace": "global.istioNamespace",
    "meshConfig": "meshConfig",
    "components.cni.enabled": "pilot.cni.enabled",
}
"""What of an IstioOperator's spec stands for a value, by its path."""


def _shaped(values: Json, where: str) -> Json:
    """Raises TidegateError for a value that stands where a mapping of values is read, or the other way round."""
    wrong = list(_misshapen(values, {**DEFAULT_VALUES, "meshConfig": {}}, ""))
    if wrong:
        raise TidegateError("\n".join(f"{where}: {each}" for each in wrong))
    return dict(values)


def _misshapen(values: Json, like: Json, at_path: str) -> Iterator[str]:
    for name, value in values.items():
        known, path = like.get(name), f"{at_path}{name}"
        if value is None or known is None:
            continue
        for kind, word in ((dict, "a mapping"), (list, "a list")):
            if isinstance(known, kind) and not isinstance(value, kind):
                yield f"{path}: expected {word}, got {value!r}"
        if isinstance(known, (str, int)) and isinstance(value, (dict, list)):
            yield f"{path}: expected one value, got a {'mapping' if isinstance(value, dict) else 'list'}"
        if isinstance(known, dict) and isinstance(value, dict):
            yield from _misshapen(value, known, f"{path}.")


def unknown_values(values: Json, like: Json | None = None, at_path: str = "") -> Iterator[str]:
    """Warnings of names that nothing reads, where there is a near one that something does. Charts have many values
    that have no bearing on injection: those are nobody's mistake."""
    like = DEFAULT_VALUES if like is None else like
    for name, value in values.items():
        known, path = like.get(name), f"{at_path}{name}"
        if name not in like and name not in _READ_TOO:
            near = difflib.get_close_matches(name.lower(), {each.lower(): each for each in like}, 1, 0.85)
            word = next((each for each in like if near and each.lower() == near[0]), "")
            if word and word not in values:
                yield f"warning: values: {path}: unknown value; did you mean {at_path}{word}?"
        elif isinstance(known, dict) and isinstance(value, dict) and known:
            yield from unknown_values(value, known, f"{path}.")


_READ_TOO = ("cni", "proxyInit", "imagePullPolicy", "trustDomain", "lifecycle")
"""Values that have no default here, or are another chart's."""


_OF_INJECTOR = {
    "policy": "global.proxy.autoInject",
    "templates": "sidecarInjectorWebhook.templates",
    "aliases": "sidecarInjectorWebhook.aliases",
    "defaultTemplates": "sidecarInjectorWebhook.defaultTemplates",
    "alwaysInjectSelector": "sidecarInjectorWebhook.alwaysInjectSelector",
    "neverInjectSelector": "sidecarInjectorWebhook.neverInjectSelector",
    "injectedAnnotations": "sidecarInjectorWebhook.injectedAnnotations",
}
"""The members of an injector's configuration, and the value that each stands for."""


def from_injector(text: str, where: str) -> Json:
    """Values of an injector's configuration: what Istio keeps in its ConfigMap under ``config``. Text that has no
    ``templates`` is the template ``sidecar`` itself."""
    try:
        found = read_yaml(text)
    except YamlError:
        found = None
    if not isinstance(found, dict) or "templates" not in found:
        return _nested(["sidecarInjectorWebhook", "templates", "sidecar"], text)
    values: Json = {}
    for name, target in _OF_INJECTOR.items():
        if found.get(name) is not None:
            values = merged(values, _nested(target.split("."), found[name]))
    return _shaped(values, where)
