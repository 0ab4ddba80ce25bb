"""What Envoy takes for granted where a configuration says nothing."""

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster


@pytest.mark.claim("C000-13")
def test_a_cluster_that_names_no_type_is_static() -> None:
    assert Cluster(name="any").type == Cluster.DiscoveryType.Value("STATIC")
