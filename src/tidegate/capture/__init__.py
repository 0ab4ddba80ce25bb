"""Applies packet rules, verifies that the kernel holds them, and rolls back when it does not. Decides nothing.

``connections`` joins the kernel's tables into who talks to whom, through the sidecar or around it.
``install``, ``verified`` and ``uninstall`` do everything that one workload needs, with either backend; ``apply`` and
``remove`` are iptables' rules alone, :mod:`tidegate.capture.native` has nftables'.
"""

from tidegate.capture.apply import Outcome, apply, remove
from tidegate.capture.backend import Backend, choose
from tidegate.capture.install import install, uninstall, verified
from tidegate.capture.kernel import CaptureError
from tidegate.capture.surroundings import observe

__all__ = [
    "Backend",
    "CaptureError",
    "Outcome",
    "apply",
    "choose",
    "install",
    "observe",
    "remove",
    "uninstall",
    "verified",
]
