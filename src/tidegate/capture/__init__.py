"""Applies packet rules, verifies that the kernel holds them, and rolls back when it does not. Decides nothing.

``connections`` joins the kernel's tables into who talks to whom, through the sidecar or around it.
``install`` and ``uninstall`` do everything that one workload needs; ``apply`` and ``remove`` are the rules alone.
"""

from tidegate.capture.apply import Outcome, apply, remove
from tidegate.capture.install import install, uninstall
from tidegate.capture.kernel import CaptureError
from tidegate.capture.surroundings import observe

__all__ = ["CaptureError", "Outcome", "apply", "install", "observe", "remove", "uninstall"]
