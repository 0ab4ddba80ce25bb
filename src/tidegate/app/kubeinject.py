"""kube-inject: manifests read, injected and printed."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import yaml

from tidegate.api import decode, unacted
from tidegate.api.objects import Object
from tidegate.app.offline import manifests
from tidegate.app.offline.manifests import Document
from tidegate.inject import ranges
from tidegate.inject.context import Place
from tidegate.inject.objects import Result, inject_object
from tidegate.inject.settings import Json, Settings, merged
from tidegate.inject.workloads import items, pod_of
from tidegate.kit.errors import TidegateError


class _Plain(yaml.CSafeDumper):
    """YAML without anchors, as kubectl and people write it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Plain, value: str) -> yaml.ScalarNode:
    """Lines stay lines; what YAML 1.1 readers take for a boolean is quoted by the resolver itself."""
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Plain.add_representer(str, _text)


_ASKED_FOR = {
    "global": {"proxy": {"autoInject": "enabled"}},
    "sidecarInjectorWebhook": {"alwaysInjectSelector": [], "neverInjectSelector": []},
}
"""Policy and selectors choose among pods that nobody has chosen; here somebody has, by giving the file."""


def inject_files(path: str, settings: Settings, place: Place, registered: Sequence[Json] = ()) -> list[Result]:
    """Every object of the manifests, injected where it is to be; a List's items are objects of their own. Those
    ProxyConfigs count that stand among them.

    ``registered``: Services that are in the cluster already, for warnings about ranges.

    Raises TidegateError with everything that is wrong, each with file and line.
    """
    found = manifests.load([path])
    wrong = [f"{each.place}: {each.message}" for each in found.broken]
    objects = [item for d in found.documents for item in items(d.raw)]
    services = ranges.service_addresses([*registered, *objects])
    settings = msgspec.structs.replace(settings, values=merged(settings.values, _ASKED_FOR))
    configs = _proxy_configs(found.documents, place.namespace)
    place = msgspec.structs.replace(place, proxy_configs=configs.found)
    wrong += configs.wrong
    results: list[Result] = []
    for document in found.documents:
        if not isinstance(document.raw, dict):
            wrong.append(f"{document.place()}: expected a Kubernetes object as a mapping")
            continue
        try:
            made = _with_ranges(inject_object(document.raw, settings, place), services)
            results.append(msgspec.structs.replace(made, warnings=(*made.warnings, *configs.told(document))))
        except TidegateError as error:
            wrong.append(f"{document.place()}: {error}")
    if wrong:
        raise TidegateError("\n".join(wrong))
    return results


class _ProxyConfigs(msgspec.Struct):
    """The ProxyConfigs among documents, and what is wrong with them."""

    found: tuple[Object[Any], ...] = ()
    wrong: list[str] = []
    warnings: dict[int, list[str]] = {}

    def told(self, document: Document) -> list[str]:
        return self.warnings.get(id(document), [])


def _proxy_configs(documents: Iterable[Document], namespace: str) -> _ProxyConfigs:
    out = _ProxyConfigs()
    for document in documents:
        raw = document.raw
        if not isinstance(raw, dict) or (raw.get("kind"), _group(raw)) != ("ProxyConfig", "networking.istio.io"):
            continue
        meta = raw.get("metadata")
        placed = {"namespace": namespace or "default", **meta} if isinstance(meta, dict) else meta
        try:
            admitted = decode.admit({**raw, "metadata": placed})
        except TidegateError as error:
            out.wrong.append(f"{document.place()}: {error}")
            continue
        found = decode.stored(admitted.object)
        out.found = (*out.found, found)
        told = (text for text in admitted.warnings if unacted.MARK not in text)
        out.warnings[id(document)] = [f'ProxyConfig "{found.ref.name}": {text}' for text in told]
    return out


def _group(raw: Json) -> str:
    return str(raw.get("apiVersion")).partition("/")[0]


def _with_ranges(result: Result, services: dict[str, str]) -> Result:
    found = pod_of(result.object) if result.injected and services else None
    if found is None:
        return result
    given: Json = found.pod["metadata"]["annotations"]
    more = tuple(f"{found.workload}: {text}" for text in ranges.warnings(given, services))
    return msgspec.structs.replace(result, warnings=(*result.warnings, *more))


def printed(results: list[Result]) -> str:
    """The objects as YAML documents."""
    return "".join(f"{yaml.dump(each.object, Dumper=_Plain, width=10_000)}---\n" for each in results)


def told(results: list[Result]) -> list[str]:
    """Warnings, and why pods got no sidecar, one a line."""
    return [line for each in results for line in (*(f"warning: {text}" for text in each.warnings), *each.reasons)]
