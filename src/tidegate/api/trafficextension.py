"""TrafficExtension: Lua or WebAssembly filters for some workloads.

https://istio.io/latest/docs/reference/config/proxy_extensions/
"""

import enum
from typing import Annotated, Any

from tidegate.api.fields import Int32, Message, doc
from tidegate.api.networking import MatchLabelsSelector
from tidegate.api.selection import PolicyTargetReference
from tidegate.api.wasmplugin import FailStrategy, PluginType, PullPolicy, TrafficSelector, VmConfig


class ExtensionPhase(enum.StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    AUTHN = "AUTHN"
    AUTHZ = "AUTHZ"
    STATS = "STATS"


class WasmConfig(Message, frozen=True):
    """extensions.v1alpha1.WasmConfig."""

    url: Annotated[str, doc("file, http(s) or oci address of the module", required=True, min_length=1)] = ""
    sha256: Annotated[str, doc("the module's checksum", pattern="(^$|^[a-f0-9]{64}$)")] = ""
    image_pull_policy: Annotated[PullPolicy, doc("when to fetch it")] = PullPolicy.UNSPECIFIED_POLICY
    image_pull_secret: Annotated[str | None, doc("registry's Secret", min_length=1, max_length=253)] = None
    verification_key: Annotated[str, doc("not used")] = ""
    plugin_config: Annotated[dict[str, Any] | None, doc("given to the plugin")] = None
    plugin_name: Annotated[str | None, doc("root id", min_length=1, max_length=256)] = None
    fail_strategy: Annotated[FailStrategy, doc("when it cannot be loaded")] = FailStrategy.FAIL_CLOSE
    vm_config: Annotated[VmConfig | None, doc("its machine")] = None
    type: Annotated[PluginType, doc("HTTP or NETWORK")] = PluginType.UNSPECIFIED_PLUGIN_TYPE


class LuaConfig(Message, frozen=True):
    """extensions.v1alpha1.LuaConfig."""

    inline_code: Annotated[str, doc("the script", required=True, min_length=1, max_length=65536)] = ""


class TrafficExtension(Message, frozen=True):
    """extensions.v1alpha1.TrafficExtension."""

    selector: Annotated[MatchLabelsSelector | None, doc("labels of the workloads")] = None
    target_refs: Annotated[tuple[PolicyTargetReference, ...], doc("objects it is attached to", max_items=16)] = ()
    phase: Annotated[ExtensionPhase, doc("place among the filters")] = ExtensionPhase.UNSPECIFIED
    priority: Annotated[Int32 | None, doc("order within a phase, higher first")] = None
    match: Annotated[tuple[TrafficSelector, ...], doc("which traffic")] = ()
    wasm: Annotated[WasmConfig | None, doc("a WebAssembly module", oneof="filter_config")] = None
    lua: Annotated[LuaConfig | None, doc("a Lua script", oneof="filter_config")] = None
