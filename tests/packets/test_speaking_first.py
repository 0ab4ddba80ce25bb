"""A server that speaks first on a port of which nothing tells the protocol; test_matrix has what comes without it."""

import json
import os
import shutil
from typing import Any

import pytest

from tests.packets.sidecar import sidecar
from tests.packets.wire import ANSWER_SECONDS, UNDECLARED, wire
from tidegate.capture.install import install
from tidegate.capture.kernel import Kernel
from tidegate.rules.options import ALL, CaptureOptions, Surroundings

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(shutil.which("iptables-save") is None, reason="iptables is not installed"),
]


@pytest.mark.parametrize("mode", ["REDIRECT", "TPROXY"])
def test_it_is_heard_when_protocol_detection_has_an_end(mode: Any) -> None:
    with wire("ipv4") as made, sidecar(made, mode, protocolDetectionTimeout="0.2s") as running:
        options = CaptureOptions(inbound_interception_mode=mode, inbound_ports=ALL)
        install(options, Surroundings(), Kernel(netns=made.pod))
        asked = {"act": "speak last", "host": made.places.pod, "port": UNDECLARED, "silence": ANSWER_SECONDS}
        early = json.loads(made.outside.ask(asked)["early"])
        assert early["by"] == "application"
        assert early["peer"][0] == (made.places.other if mode == "TPROXY" else made.places.passthrough)
        assert running.logged(made.places.pod, UNDECLARED)["cluster"] == "InboundPassthroughCluster"
