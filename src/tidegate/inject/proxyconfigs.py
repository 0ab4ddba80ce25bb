"""What ProxyConfig objects say of a pod's proxy, and how it is joined to what the mesh and the pod say.

https://istio.io/latest/docs/reference/config/networking/proxy-config/
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tidegate.api.objects import Object
from tidegate.api.proxyconfig import ProxyConfig
from tidegate.inject.settings import Json, merged

_JOINED = ("proxyMetadata", "proxyHeaders")


class Said(msgspec.Struct, frozen=True):
    """What ProxyConfigs say of one pod's proxy, in the words of ``defaultConfig``."""

    wider: tuple[Json, ...] = ()
    """Of the mesh, then of the pod's namespace: the pod's annotation wins over these."""
    own: Json = {}
    """Of the one that selects the pod: it wins over the annotation."""

    def joined(self, defaults: Json, annotated: Json) -> Json:
        """The whole configuration: ``defaults`` are the mesh's, ``annotated`` is what the pod's annotation says."""
        found = defaults
        for each in (*self.wider, annotated, self.own):
            found = over(found, each) if each else found
        return found


def of_pod(configs: Iterable[Object[ProxyConfig]], root: str, namespace: str, labels: Mapping[str, Any]) -> Said:
    """One of each reach counts, the oldest: of ``root``, the mesh's root namespace, and of ``namespace`` those without
    a selector; of ``namespace`` those whose selector has labels, and only such as the pod has. A selector without
    labels is neither."""
    found = sorted(configs, key=lambda each: each.age_key)
    near = [each for each in found if each.ref.namespace == namespace]
    spaces = [[each for each in found if each.ref.namespace == root], *([near] if namespace != root else [])]
    firsts = (next((each for each in space if each.spec.selector is None), None) for space in spaces)
    own = next((each for each in near if _selects(each.spec, labels)), None)
    return Said(tuple(_words(each.spec) for each in firsts if each), _words(own.spec) if own else {})


def over(defaults: Json, own: Json) -> Json:
    """A ProxyConfig over another: its fields replace the other's, but for some mappings, which are joined."""
    given = {k: v for k, v in own.items() if v is not None and (v or k not in _JOINED)}
    joined = {k: merged(defaults[k], given[k]) for k in _JOINED if isinstance(defaults.get(k), dict) and k in given}
    return {**defaults, **given, **joined}


def _selects(config: ProxyConfig, labels: Mapping[str, Any]) -> bool:
    wanted = config.selector.match_labels if config.selector else {}
    return bool(wanted) and wanted.items() <= labels.items()


def _words(config: ProxyConfig) -> Json:
    found: Json = {} if config.concurrency is None else {"concurrency": config.concurrency}
    if config.environment_variables:
        found["proxyMetadata"] = dict(config.environment_variables)
    if config.image is not None and config.image.image_type:
        found["image"] = {"imageType": config.image.image_type}
    return found
