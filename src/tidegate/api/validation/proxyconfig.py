"""Rules for the kind ProxyConfig; those of the mesh's ``defaultConfig`` are in :mod:`proxy_config`."""

from tidegate.api.proxyconfig import ProxyConfig
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.selection import check_workloads


def check_proxy_config_kind(found: ProxyConfig, out: Findings) -> None:
    check_workloads(found.selector, out)
    if found.concurrency is not None and found.concurrency < 0:
        out.error("spec.concurrency", "must be 0 or more", found.concurrency)
