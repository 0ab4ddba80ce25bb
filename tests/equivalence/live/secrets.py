"""The workload's certificate and roots, as an agent serves them: secret discovery on a Unix socket."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from tests.certificates import Authority
from tidegate.envoy import protos
from tidegate.envoy.tls import SDS_CLUSTER

_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
_SERVICE = "envoy.service.secret.v3.SecretDiscoveryService"


class Secrets:
    """Answers every stream with what it asks for; a name that is not known never comes."""

    def __init__(self, authority: Authority) -> None:
        pair = authority.issue("web-0")
        chain = {"certificate_chain": {"inline_bytes": pair.certificate}, "private_key": {"inline_bytes": pair.key}}
        roots = {"trusted_ca": {"inline_bytes": authority.roots}}
        self._known = {
            "default": protos.Secret(name="default", tls_certificate=chain),
            "ROOTCA": protos.Secret(name="ROOTCA", validation_context=roots),
        }

    async def start(self, socket: Path) -> grpc.aio.Server:
        server = grpc.aio.server()
        method = grpc.stream_stream_rpc_method_handler(
            self._stream, discovery_pb2.DiscoveryRequest.FromString, discovery_pb2.DiscoveryResponse.SerializeToString
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"StreamSecrets": method}),))
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
        return server

    async def _stream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        told: tuple[str, ...] | None = None
        async for request in requests:
            names = tuple(request.resource_names)
            if names != told:
                told = names
                yield self._answer(names)

    def _answer(self, names: tuple[str, ...]) -> Any:
        bodies = [self._known[name].SerializeToString() for name in names if name in self._known]
        version = hashlib.sha256(b"".join(bodies)).hexdigest()[:12]
        listed = [any_pb2.Any(type_url=_TYPE, value=body) for body in bodies]
        return discovery_pb2.DiscoveryResponse(version_info=version, nonce=version, type_url=_TYPE, resources=listed)


def cluster(socket: Path) -> dict[str, Any]:
    """The static cluster by which an Envoy asks for them."""
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(socket)}}}}
    return {
        "name": SDS_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {"cluster_name": SDS_CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
