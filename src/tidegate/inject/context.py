"""What one injection is about: the pod, what it belongs to, the settings, and what follows from them."""

import json
from functools import cache, cached_property
from typing import Any

import msgspec

from tidegate.api import meshconfig
from tidegate.api.mesh import ProxyConfig
from tidegate.api.objects import Object
from tidegate.api.walk import walk
from tidegate.api.yamltext import YamlError, read_yaml
from tidegate.inject import annotations, openshift, proxyconfigs
from tidegate.inject.errors import InjectionError
from tidegate.inject.settings import Json, Settings, at
from tidegate.inject.workloads import Workload
from tidegate.kit.errors import FieldError

PROXY = "istio-proxy"
PROXY_ID = 1337
PROXY_IMAGE = "sidecar.istio.io/proxyImage"
_PROXY_SETTING = "global.proxy.image"
_IMAGE_TYPES = ("distroless", "debug")
"""Endings of tags that stand for a type of image."""


class Place(msgspec.Struct, frozen=True):
    """What is known of where a pod goes."""

    namespace: str = ""
    namespace_annotations: dict[str, str] = {}
    namespace_labels: dict[str, str] = {}
    cluster: str = ""
    """Of the webhook's path: wins over the values."""
    network: str = ""
    variables: dict[str, str] = {}
    """Further ``ISTIO_META_``-like settings of the webhook's path."""
    proxy_configs: tuple[Object[Any], ...] = ()
    """The ProxyConfigs that there are, of any namespace."""


class Context:
    """One pod, and what templates ask about it. Never changed once made."""

    def __init__(self, pod: Json, workload: Workload, settings: Settings, place: Place) -> None:
        self.pod, self.workload, self.settings, self.place = pod, workload, settings, place
        meta = pod.get("metadata") or {}
        self.labels: Json = meta.get("labels") or {}
        self.annotations: Json = meta.get("annotations") or {}
        self.spec: Json = pod.get("spec") or {}

    def value(self, path: str, default: Any = None) -> Any:
        return self.settings.value(path, default)

    def annotation(self, name: str, path: str) -> str:
        """An annotation's value, else a setting's by its dotted path."""
        if name in self.annotations:
            return str(self.annotations[name])
        return _text(self.value(path, ""))

    @cached_property
    def proxy_config(self) -> Json:
        """The mesh's, with what ProxyConfigs and the pod's annotation say over it. Raises InjectionError for an
        annotation that is not a ProxyConfig."""
        root = str(self.settings.mesh.get("rootNamespace") or "")
        said = proxyconfigs.of_pod(self.place.proxy_configs, root, self.namespace, self.labels)
        return said.joined(self.settings.proxy_defaults, self._annotated_config())

    def _annotated_config(self) -> Json:
        if not (text := self.annotations.get(annotations.PROXY_CONFIG)):
            return {}
        where = f"metadata.annotations[{annotations.PROXY_CONFIG}]"
        try:
            found = read_yaml(str(text)) or {}
        except YamlError as error:
            wrong = tuple(FieldError(f"{where}: {each.path}", each.message, each.value) for each in error.errors)
            raise InjectionError(str(self.workload), wrong) from error
        _, errors, _ = walk(ProxyConfig, found, where)
        if errors:
            raise InjectionError(str(self.workload), tuple(errors))
        return dict(found)

    @property
    def proxy_config_json(self) -> str:
        """As the proxy is told it: without what every proxy has by default."""
        default = {**_ZEROS, **meshconfig.base()["defaultConfig"]}
        given = self.proxy_config.items()
        kept = {k: v for k, v in given if v not in (None, "", default.get(k)) and (v != _ZEROS.get(k))}
        return json.dumps({k: kept[k] for k in _ordered(kept)}, separators=(",", ":"))

    @property
    def metadata_variables(self) -> dict[str, str]:
        """The environment that ``proxyMetadata`` gives the proxy."""
        return {k: _text(v) for k, v in sorted((self.proxy_config.get("proxyMetadata") or {}).items())}

    @property
    def mode(self) -> str:
        return str(self.annotations.get(annotations.MODE) or self.proxy_config.get("interceptionMode") or "REDIRECT")

    @property
    def tproxy(self) -> bool:
        return self.mode == "TPROXY"

    @property
    def native(self) -> bool:
        """Whether the sidecar is an init container that goes on."""
        if annotations.NATIVE in self.annotations:
            return annotations.is_true(self.annotations[annotations.NATIVE])
        return self.settings.native

    @property
    def holds_application(self) -> bool:
        own = self.proxy_config.get("holdApplicationUntilProxyStarts")
        return bool(own) or annotations.is_true(self.value("global.proxy.holdApplicationUntilProxyStarts", False))

    @property
    def cni(self) -> bool:
        return bool(self.value("pilot.cni.enabled", False))

    @property
    def status_port(self) -> str:
        return self.annotation(annotations.STATUS_PORT, "global.proxy.statusPort") or "15020"

    @property
    def agent_port(self) -> str:
        """Where the agent listens for scrapes."""
        return str(self.proxy_config.get("statusPort") or 15020)

    @property
    def probe_port(self) -> str:
        """Where probes are led to; 0 for nowhere."""
        return str(self.annotations.get(annotations.STATUS_PORT) or self.agent_port)

    @property
    def capabilities(self) -> list[str]:
        """What the proxy must be allowed beyond nothing."""
        bind = annotations.is_true(
            self.annotation("sidecar.istio.io/capNetBindService", "global.proxy.capNetBindService")
        )
        return [*(["NET_ADMIN"] if self.tproxy else []), *(["NET_BIND_SERVICE"] if bind else [])]

    @cached_property
    def identity(self) -> tuple[int, int]:
        """User and group of the proxy: the author's own choice, OpenShift's for the namespace, else 1337. With TPROXY
        it runs as root, and is told by 1337."""
        if self.tproxy:
            return PROXY_ID, PROXY_ID
        own = at(self._own_proxy, "securityContext", {})
        user, group = (0, 0)
        if self.settings.platform == "openshift":
            user, group = openshift.last_ids(self.place.namespace_annotations)
        return own.get("runAsUser") or user or PROXY_ID, own.get("runAsGroup") or group or PROXY_ID

    @property
    def exempt_user(self) -> int:
        """The user whose traffic the rules leave alone. As root the proxy is told by its group, which the rules take
        to be this number."""
        return self.own_user or (PROXY_ID if self.capabilities else self.identity[0])

    @property
    def own_user(self) -> int:
        """The user that the pod's author gives the proxy; 0 for none, or for root."""
        return int(at(self._own_proxy, "securityContext.runAsUser") or 0)

    @property
    def _own_proxy(self) -> Json:
        own = (*(self.spec.get("containers") or ()), *(self.spec.get("initContainers") or ()))
        return next((each for each in own if each.get("name") == PROXY), {})

    @property
    def applications(self) -> list[Json]:
        """The containers that are not the proxy."""
        return [each for each in self.spec.get("containers") or () if each.get("name") != PROXY]

    @property
    def canonical_name(self) -> str:
        names = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
        found = next((self.labels[name] for name in names if self.labels.get(name)), self.workload.name)
        return str(found)[:63].strip("-_.")

    @property
    def canonical_revision(self) -> str:
        names = ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")
        return str(next((self.labels[name] for name in names if self.labels.get(name)), "latest"))

    @property
    def workload_name(self) -> str:
        return str(self.labels.get("service.istio.io/workload-name") or self.workload.name)

    @property
    def namespace(self) -> str:
        return self.workload.namespace or self.place.namespace or "default"

    @property
    def known_cluster(self) -> str:
        """The cluster's name; "" where nobody says it."""
        return str(self.place.cluster or self.value("global.multiCluster.clusterName") or "")

    @property
    def cluster(self) -> str:
        return self.known_cluster or "Kubernetes"

    @property
    def network(self) -> str:
        return str(
            self.labels.get("topology.istio.io/network") or self.place.network or self.value("global.network") or ""
        )

    def image(self, path: str = _PROXY_SETTING) -> str:
        """The image of a container: the pod's if it says where it is from, else the setting's; a bare name is
        completed."""
        own, image = str(self.annotations.get(PROXY_IMAGE) or ""), str(self.value(path) or "proxyv2")
        whole = next((each for each in (own, image) if "/" in each), "")
        return whole or f"{self.value('global.hub')}/{image}:{self._tag(path)}"

    def _tag(self, path: str) -> str:
        """The installation's tag, its ending replaced where another type of image is asked for."""
        kind = self.annotations.get("sidecar.istio.io/proxyImageType")
        if kind is None and path == _PROXY_SETTING:
            kind = at(self.proxy_config, "image.imageType")
        variant, tag = str(kind or self.value("global.variant") or ""), str(self.value("global.tag"))
        if not variant:
            return tag
        known = next((f"-{each}" for each in _IMAGE_TYPES if tag.endswith(f"-{each}")), "")
        plain = tag.removesuffix(known)
        return plain if variant == "default" else f"{plain}-{variant}"


_ZEROS: Json = {"interceptionMode": "REDIRECT", "controlPlaneAuthPolicy": "NONE", "proxyMetadata": {}}
"""What need not be said of a ProxyConfig's fields."""


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _ordered(given: Json) -> list[str]:
    """Names in the order in which ProxyConfig declares its fields."""
    known = _places()
    return sorted(given, key=lambda name: known.get(name, len(known)))


@cache
def _places() -> dict[str, int]:
    order = [field.encode_name for field in msgspec.structs.fields(ProxyConfig)]
    return {_camel(name): number for number, name in enumerate(order)}


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
