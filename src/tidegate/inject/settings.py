"""What an injector is told: the values of an installation, the mesh configuration, and how the cluster is."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tidegate import __version__
from tidegate.api import meshconfig
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
    """Values of an installation's file: IstioOperator's ``spec.values`` and ``spec.components``, or plain values."""
    if not isinstance(document, dict):
        raise TidegateError(f"{where}: expected values, or an IstioOperator, as a YAML mapping")
    if document.get("kind") != "IstioOperator":
        return dict(document)
    spec = document.get("spec")
    values: Any = at(spec, "values", {})
    if not isinstance(values, dict):
        raise TidegateError(f"{where}: spec.values: expected a mapping")
    if at(spec, "components.cni.enabled"):
        return merged(values, {"pilot": {"cni": {"enabled": True}}})
    return dict(values)
