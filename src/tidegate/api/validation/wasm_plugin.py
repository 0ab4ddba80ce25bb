"""Rules for WasmPlugin."""

import re

from tidegate.api.trafficextension import WasmConfig
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.selection import check_selection
from tidegate.api.wasmplugin import EnvValueSource, EnvVar, TrafficSelector, VmConfig, WasmPlugin

_SCHEMES = frozenset(("", "http", "https", "file", "oci"))
_SHA256 = re.compile("[a-f0-9]{64}")
_SCHEME = re.compile(r"([A-Za-z][-A-Za-z0-9+.]*):")
_AUTHORITY = re.compile(r"([-A-Za-z0-9._:~!$&'()*+,;=%@]*@)?(\[[^\]]*\]|[^\s:\[\]<>\"\\^`{|}%#]*)(:\d*)?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
"""Parts of an address: RFC 3986, sections 3.1, 3.2.2 and 2.1."""


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
    elif (scheme := scheme_of(url)) is None:
        out.error(path, "must be an address: oci://, https://, http:// or file:// and a path", url)
    elif scheme not in _SCHEMES:
        out.error(path, "must begin with oci://, https://, http:// or file://", url)


def scheme_of(address: str) -> str | None:
    """Scheme of a module's address: "" for a path alone, "http" for a host without one; None for no address.

    As Istio reads it: of ``localhost:5000/x`` the scheme is ``localhost``.
    """
    found = _SCHEME.match(address)
    rest = address[found.end() :] if found else address
    if address.startswith(":") or not _is_printed(address):
        return None
    if found is None and not address.startswith("/") and address != "*":
        return "http" if _is_usable(f"//{address}") else None
    return (found[1].lower() if found else "") if _is_usable(rest) else None


def _is_usable(rest: str) -> bool:
    """Whether what follows the scheme is well-formed: ``//`` and a host with an optional port, or a path."""
    path = rest.partition("?")[0]
    host, slash, tail = path[2:].partition("/") if path.startswith("//") else ("", "", path)
    named = _AUTHORITY.fullmatch(host) if path.startswith("//") else True
    return bool(named) and not _BAD_ESCAPE.search(slash + tail)


def _is_printed(text: str) -> bool:
    return not any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in text)


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
