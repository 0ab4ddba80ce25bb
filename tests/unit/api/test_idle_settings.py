"""Settings of the mesh that mean nothing beside the others warn."""

import pytest

from tidegate.api.meshconfig import admit_mesh


@pytest.mark.parametrize(("mode", "told"), [("ALLOW_ANY", 1), ("REGISTRY_ONLY", 1), ("ALLOW_ANY_DYNAMIC_DNS", 0)])
def test_tls_of_outbound_traffic_counts_for_one_mode(mode: str, told: int) -> None:
    _, warnings = admit_mesh(f"outboundTrafficPolicy: {{mode: {mode}, tls: {{mode: SIMPLE}}}}")
    assert sum("outboundTrafficPolicy.tls: not acted on" in each for each in warnings) == told
