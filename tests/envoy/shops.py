"""What a proxy of a world in memory would be sent, as the bootstrap of an Envoy that asks nobody."""

from typing import Any

from google.protobuf import json_format

from tests.worlds import Shop
from tidegate.envoy import protos
from tidegate.envoy.resource import CLUSTER


def bootstrap(shop: Shop, bind: str, port: int) -> dict[str, Any]:
    """The listener of an address with its routes inside, and the clusters that need no endpoints from elsewhere."""
    listener = shop.listener(f"{bind}_{port}")
    for chain in listener.filter_chains:
        manager = protos.HttpConnectionManager()
        if chain.filters[0].typed_config.Unpack(manager):
            manager.route_config.CopyFrom(shop.route(str(port)))
            chain.filters[0].typed_config.Pack(manager)
    made = (protos.Cluster.FromString(r.body) for r in shop.view.resources[CLUSTER].values())
    found = {"listeners": [listener], "clusters": [c for c in made if not c.HasField("eds_cluster_config")]}
    static = {kind: [json_format.MessageToDict(m) for m in each] for kind, each in found.items()}
    return {"node": {"id": "client-0.shop", "cluster": "client.shop"}, "static_resources": static}
