"""ProxyConfig, the kind: how the proxies of a mesh, a namespace or some workloads are started.

https://istio.io/latest/docs/reference/config/networking/proxy-config/
"""

from typing import Annotated

from msgspec import field

from tidegate.api.fields import Int32, Message, doc
from tidegate.api.mesh import ProxyImage
from tidegate.api.networking import MatchLabelsSelector


class ProxyConfig(Message, frozen=True):
    """networking.v1beta1.ProxyConfig."""

    selector: Annotated[
        MatchLabelsSelector | None, doc("labels of the workloads; none: the namespace, in the root namespace the mesh")
    ] = None
    concurrency: Annotated[Int32 | None, doc("worker threads; 0: one for each processor", minimum=0)] = None
    environment_variables: Annotated[dict[str, str], doc("set for the proxy")] = field(default_factory=dict)
    image: Annotated[ProxyImage | None, doc("image of the proxy")] = None
