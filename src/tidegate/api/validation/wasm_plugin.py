"""Rules for WasmPlugin."""

import re
from urllib.parse import urlsplit

from tidegate.api.trafficextension import WasmConfig
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.selection import check_selection
from tidegate.api.wasmplugin import EnvValueSource, EnvVar, TrafficSelector, VmConfig, WasmPlugin

_SCHEMES = frozenset(("", "http", "https", "file", "oci"))
_SHA256 = re.compile("[a-f0-9]{64}")
_URL = re.compile(r"[A-Za-z0-9][-A-Za-z0-9+.]*(:\d+)?([/?#].*)?|[A-Za-z][-A-Za-z0-9+.]*://.*")


def check_wasm_plugin(plugin: WasmPlugin, out: Findings) -> None:
    check_selection(plugin, out)
    check_module("spec", plugin, out)
    check_traffic("spec.match", plugin.match, out)


def check_module(path: str, module: WasmPlugin | WasmConfig, out: Findings) -> None:
    """Where the module is and how it is run."""
    _check_url(f"{path}.url", module.url, out)
    if module.sha256 and not _SHA256.fullmatch(module.sha256):
        out.error(f"{path}.sha256", "must be 64 characters 0-9 and a-f", module.sha256)
    for name, value, limit in (
        ("imagePullSecret", module.image_pull_secret, 253),
        ("pluginName", module.plugin_name, 256),
    ):
        if value is not None and len(value) > limit:
            out.error(f"{path}.{name}", f"must be at most {limit} characters long", len(value))
    if module.vm_config is not None:
        _check_environment(f"{path}.vmConfig.env", module.vm_config, out)


def check_traffic(path: str, matches: tuple[TrafficSelector, ...], out: Findings) -> None:
    """Ports of the traffic that an extension is for."""
    for index, match in enumerate(matches):
        for place, port in enumerate(match.ports):
            if not 1 <= port.number <= 65535:
                out.error(f"{path}[{index}].ports[{place}].number", "must be 1 to 65535", port.number)


def _check_url(path: str, url: str, out: Findings) -> None:
    if not url:
        out.required(path, "address of the module: oci://, https://, http:// or file://")
    elif not _URL.fullmatch(url):
        out.error(path, "must be an address: oci://, https://, http:// or file:// and a path", url)
    elif "://" in url and urlsplit(url).scheme not in _SCHEMES:
        out.error(path, "must begin with oci://, https://, http:// or file://", url)


def _check_environment(path: str, machine: VmConfig, out: Findings) -> None:
    seen: set[str] = set()
    for index, variable in enumerate(machine.env):
        at = f"{path}[{index}]"
        _check_variable(at, variable, out)
        if variable.name in seen:
            out.duplicate(f"{at}.name", variable.name)
        seen.add(variable.name)


def _check_variable(path: str, variable: EnvVar, out: Findings) -> None:
    if not variable.name:
        out.required(f"{path}.name", "name of the variable")
    if len(variable.name) > 256:
        out.error(f"{path}.name", "must be at most 256 characters long", len(variable.name))
    if variable.value and variable.value_from is not EnvValueSource.INLINE:
        out.error(f"{path}.value", "goes with valueFrom INLINE only", variable.value)
