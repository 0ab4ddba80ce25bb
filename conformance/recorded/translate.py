"""Recorded JSON in the words of upstream Envoy."""

from typing import Any

from google.protobuf import json_format

from tidegate.envoy import filters

OFFERED = json_format.MessageToDict(filters.offered_protocols_filter())
"""What stands where Istio's own ALPN filter stands."""


def translated(value: Any) -> Any:
    """Expected JSON with what is spelled otherwise for upstream Envoy: the ALPN filter; and max_grpc_timeout, which is
    deprecated, as max_stream_duration.grpc_timeout_header_max where it is no limit, else not at all."""
    if isinstance(value, list):
        return [translated(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("name") == "istio.alpn":
        return OFFERED
    out = {key: translated(each) for key, each in value.items()}
    if out.pop("maxGrpcTimeout", None) == "0s":
        out["maxStreamDuration"] = {"grpcTimeoutHeaderMax": "0s"}
    return _once(out) if "lbEndpoints" in out else out


def _once(locality: dict[str, Any]) -> dict[str, Any]:
    """istiod lists an endpoint of a ServiceEntry once for each of its addresses, and counts its weight as often; once
    is enough."""
    listed = locality["lbEndpoints"]
    distinct = [each for index, each in enumerate(listed) if each not in listed[:index]]
    times, rest = divmod(len(listed), len(distinct)) if distinct else (1, 0)
    if times == 1 or rest or any(listed.count(each) != times for each in distinct):
        return locality
    return {**locality, "lbEndpoints": distinct, "loadBalancingWeight": locality["loadBalancingWeight"] // times}
