"""Rules for the kind ProxyConfig; those of the mesh's ``defaultConfig`` are in :mod:`proxy_config`."""

from tidegate.api.proxyconfig import ProxyConfig
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.selection import check_workloads

_LONGEST_VALUE = 2048


def check_proxy_config_kind(found: ProxyConfig, out: Findings) -> None:
    if found.selector is not None and not found.selector.match_labels:
        out.warn("spec.selector", "selects no workload, since it has no labels; leave it out for the whole namespace")
    else:
        check_workloads(found.selector, out)
    if found.concurrency is not None and found.concurrency < 0:
        out.error("spec.concurrency", "must be 0 or more", found.concurrency)
    for name, value in found.environment_variables.items():
        if len(value) > _LONGEST_VALUE:
            at = f"spec.environmentVariables[{name[:120]}]"
            out.error(at, f"must be at most {_LONGEST_VALUE} characters long", len(value))
