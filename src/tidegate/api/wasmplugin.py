"""WasmPlugin: WebAssembly filters for some workloads.

https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/
"""

import enum
from typing import Annotated, Any

from tidegate.api.fields import Int32, Message, UInt32, doc
from tidegate.api.networking import MatchLabelsSelector
from tidegate.api.selection import PolicyTargetReference


class PullPolicy(enum.StrEnum):
    UNSPECIFIED_POLICY = "UNSPECIFIED_POLICY"
    IfNotPresent = "IfNotPresent"
    Always = "Always"


class PluginPhase(enum.StrEnum):
    UNSPECIFIED_PHASE = "UNSPECIFIED_PHASE"
    AUTHN = "AUTHN"
    AUTHZ = "AUTHZ"
    STATS = "STATS"


class FailStrategy(enum.StrEnum):
    FAIL_CLOSE = "FAIL_CLOSE"
    FAIL_OPEN = "FAIL_OPEN"
    FAIL_RELOAD = "FAIL_RELOAD"


class EnvValueSource(enum.StrEnum):
    INLINE = "INLINE"
    HOST = "HOST"


class TrafficMode(enum.StrEnum):
    UNDEFINED = "UNDEFINED"
    CLIENT = "CLIENT"
    SERVER = "SERVER"
    CLIENT_AND_SERVER = "CLIENT_AND_SERVER"


class PluginType(enum.StrEnum):
    UNSPECIFIED_PLUGIN_TYPE = "UNSPECIFIED_PLUGIN_TYPE"
    HTTP = "HTTP"
    NETWORK = "NETWORK"


class EnvVar(Message, frozen=True):
    """extensions.v1alpha1.EnvVar."""

    name: Annotated[str, doc("variable", required=True, min_length=1, max_length=256)] = ""
    value_from: Annotated[EnvValueSource, doc("INLINE or the proxy's environment")] = EnvValueSource.INLINE
    value: Annotated[str, doc("value of INLINE", max_length=2048)] = ""


class VmConfig(Message, frozen=True):
    """extensions.v1alpha1.VmConfig."""

    env: Annotated[tuple[EnvVar, ...], doc("environment", max_items=256)] = ()


class TrafficPort(Message, frozen=True):
    """type.v1beta1.PortSelector."""

    number: Annotated[UInt32, doc("port", required=True, minimum=1, maximum=65535)] = 0


class TrafficSelector(Message, frozen=True):
    """extensions.v1alpha1.WasmPlugin.TrafficSelector."""

    mode: Annotated[TrafficMode, doc("as client, as server or both")] = TrafficMode.UNDEFINED
    ports: Annotated[tuple[TrafficPort, ...], doc("ports; none: all")] = ()


class WasmPlugin(Message, frozen=True):
    """extensions.v1alpha1.WasmPlugin."""

    selector: Annotated[MatchLabelsSelector | None, doc("labels of the workloads")] = None
    target_ref: Annotated[PolicyTargetReference | None, doc("object it is attached to")] = None
    target_refs: Annotated[tuple[PolicyTargetReference, ...], doc("objects it is attached to", max_items=16)] = ()
    url: Annotated[str, doc("file, http(s) or oci address of the module", required=True, min_length=1)] = ""
    sha256: Annotated[str, doc("the module's checksum", pattern="(^$|^[a-f0-9]{64}$)")] = ""
    image_pull_policy: Annotated[PullPolicy, doc("when to fetch it")] = PullPolicy.UNSPECIFIED_POLICY
    image_pull_secret: Annotated[str | None, doc("registry's Secret", min_length=1, max_length=253)] = None
    verification_key: Annotated[str, doc("not used")] = ""
    plugin_config: Annotated[dict[str, Any] | None, doc("given to the plugin")] = None
    plugin_name: Annotated[str | None, doc("root id", min_length=1, max_length=256)] = None
    phase: Annotated[PluginPhase, doc("place among the filters")] = PluginPhase.UNSPECIFIED_PHASE
    priority: Annotated[Int32 | None, doc("order within a phase, higher first")] = None
    fail_strategy: Annotated[FailStrategy, doc("when it cannot be loaded")] = FailStrategy.FAIL_CLOSE
    vm_config: Annotated[VmConfig | None, doc("its machine")] = None
    match: Annotated[tuple[TrafficSelector, ...], doc("which traffic")] = ()
    type: Annotated[PluginType, doc("HTTP or NETWORK")] = PluginType.UNSPECIFIED_PLUGIN_TYPE
