"""PROXY_CONFIG: how Istio tells one proxy what its agent is to do.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig
"""

from typing import Any

import msgspec
import yaml

from tidegate.api import meshconfig, unacted
from tidegate.api.fields import decode_hook
from tidegate.api.mesh import ProxyConfig
from tidegate.api.walk import walk
from tidegate.kit import boundedyaml
from tidegate.kit.errors import TidegateError


class Configuration(msgspec.Struct, frozen=True):
    """A ProxyConfig as an agent takes it."""

    typed: ProxyConfig
    plain: dict[str, Any]
    """The same as JSON: the node's metadata PROXY_CONFIG."""
    notes: tuple[str, ...] = ()
    """What of it is not acted on."""


def read(texts: dict[str, str]) -> Configuration:
    """Istio's defaults, with each of the texts (YAML or JSON, by where it comes from) over them.

    Raises TidegateError for what is no ProxyConfig, with the place and the fields.
    """
    base = meshconfig.base()["defaultConfig"]
    merged, notes = dict(base), []
    for where, text in texts.items():
        found, unknown = _one(where, text)
        merged |= found
        notes += [f"{where}: {name}: unknown field" for name in unknown]
    given = {k: v for k, v in merged.items() if k not in unacted.OF_AGENTS and base.get(k) != v}
    notes += [f"ProxyConfig: {line}" for line in unacted.warnings("MeshConfig", {"defaultConfig": given})]
    return Configuration(msgspec.convert(merged, ProxyConfig, dec_hook=decode_hook), merged, tuple(notes))


def _one(where: str, text: str) -> tuple[dict[str, Any], list[str]]:
    try:
        found = boundedyaml.load(text)
    except yaml.YAMLError as error:
        raise TidegateError(f"{where}: expected a ProxyConfig as YAML or JSON: {error}") from None
    normal, errors, unknown = walk(ProxyConfig, found, "")
    if errors:
        raise TidegateError(f"{where} is no ProxyConfig: " + "; ".join(str(each) for each in errors))
    return normal, unknown
