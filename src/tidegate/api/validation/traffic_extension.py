"""Rules for TrafficExtension."""

from tidegate.api.trafficextension import TrafficExtension
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.selection import check_target, check_workloads
from tidegate.api.validation.wasm_plugin import check_module, check_traffic

_LARGEST_SCRIPT = 65536


def check_traffic_extension(extension: TrafficExtension, out: Findings) -> None:
    if extension.selector is not None and extension.target_refs:
        out.error("spec", "only one of selector and targetRefs may be set")
    check_workloads(extension.selector, out)
    for index, target in enumerate(extension.target_refs):
        check_target(f"spec.targetRefs[{index}]", target, out)
    if (extension.wasm is None) == (extension.lua is None):
        out.error("spec", "must set exactly one of wasm and lua")
    if extension.wasm is not None:
        check_module("spec.wasm", extension.wasm, out)
    size = 0 if extension.lua is None else len(extension.lua.inline_code.encode())
    if extension.lua is not None and not 0 < size <= _LARGEST_SCRIPT:
        out.error("spec.lua.inlineCode", f"must be 1 to {_LARGEST_SCRIPT} bytes long", size)
    check_traffic("spec.match", extension.match, out)
