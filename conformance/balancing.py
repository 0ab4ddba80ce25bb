"""Locality load balancing: priorities and weights of endpoints, and which of several settings holds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from conformance import difference
from conformance.suite import Json, Outcome, cases, judged
from tidegate.api import meshconfig
from tidegate.api.fields import decode_hook, encode_hook
from tidegate.api.networking import (
    LoadBalancerSettings,
    LocalityLoadBalancerSetting,
    ZoneAwareLoadBalancerSetting,
)
from tidegate.envoy import locality
from tidegate.envoy.defaults import slices
from tidegate.envoy.locality import Group, Plan
from tidegate.envoy.policy import Policy
from tidegate.registry import topology
from tidegate.registry.model import Endpoint, labels_of
from tidegate.scope.proxy import ProxyKind

_DISTRIBUTIONS = {None: "", "prefer_same_zone": "PreferSameZone", "prefer_same_node": "PreferSameNode"}


def judge(folder: Path) -> Iterator[Outcome]:
    for name, one in (("apply.json", _applied), ("effective.json", _effective)):
        yield from judged(cases(folder / name), lambda c: str(c["name"]), one)


def _applied(case: Json) -> str:
    zone_aware = case["algorithm"] == "zone_aware"
    given = case["wrapped"] or [{"locality_endpoints": each} for each in case["load_assignment"]["endpoints"]]
    setting = case["setting"]
    plan = None
    if setting is not None and setting.get("enabled") is not False:
        kind = ZoneAwareLoadBalancerSetting if zone_aware else LocalityLoadBalancerSetting
        plan = Plan(_typed(setting, kind), zone_aware or bool(case.get("enable_failover")))
    before = [_group(each) for each in given]
    weights = [each.weight for each in before]
    made = locality.apply(plan, before, _proxy(case))
    shown = [_shown(each, bool(case["wrapped"]) or each.weight != weights[i]) for i, each in enumerate(made)]
    return difference.of([_wanted(each) for each in case["expect"]["endpoints"]], shown)


def _typed(value: Json, kind: Any) -> Any:
    return msgspec.convert(value, kind, dec_hook=decode_hook)


def _maybe(value: Json | None, kind: Any) -> Any:
    return _typed(value, kind) if value is not None else None


def _proxy(case: Json) -> ProxyKind:
    given = case["proxy_labels"] or {}
    return ProxyKind(
        namespace="default",
        dns_domain="",
        labels=labels_of(given),
        locality=_text(case["proxy_locality"]),
        network=given.get(topology.NETWORK, ""),
        cluster_id=given.get(topology.CLUSTER, ""),
    )


def _text(place: Json | None) -> str:
    return "/".join((place or {}).get(key, "") for key in ("region", "zone", "subZone")).rstrip("/")


def _group(given: Json) -> Group:
    whole = given["locality_endpoints"]
    named = given.get("istio_endpoints") or ()
    endpoints = [
        Endpoint(
            address=each["addresses"][0],
            port=0,
            port_name="",
            labels=labels_of(each["labels"] or {}),
            locality=each["locality"],
            network=each["network"],
            weight=each["lb_weight"],
            node_name=each["node"],
        )
        for each in named
    ]
    weight = whole.get("loadBalancingWeight") or sum(map(locality.weight_of, endpoints)) or 1
    return Group(_text(whole.get("locality")), endpoints, weight, whole.get("priority", 0))


def _shown(group: Group, weighed: bool) -> Json:
    addresses = [each.address for each in group.endpoints]
    return {
        "locality": group.locality,
        "priority": group.priority,
        **({"weight": group.weight} if weighed else {}),
        **({"addresses": addresses} if addresses else {}),
    }


def _wanted(expected: Json) -> Json:
    addresses = [each["endpoint"]["address"]["socketAddress"]["address"] for each in expected.get("lbEndpoints", ())]
    weight = expected.get("loadBalancingWeight")
    return {
        "locality": _text(expected.get("locality")),
        "priority": expected.get("priority", 0),
        **({"weight": weight} if weight is not None else {}),
        **({"addresses": addresses} if addresses else {}),
    }


def _effective(case: Json) -> str:
    config = msgspec.structs.replace(
        meshconfig.DEFAULTS,
        locality_lb_setting=_maybe(_enabled(case["mesh_locality"]), LocalityLoadBalancerSetting),
        zone_aware_lb_setting=_maybe(case["mesh_zone_aware"], ZoneAwareLoadBalancerSetting),
    )
    own = case["destination_rule_load_balancer"]
    policy = Policy(load_balancer=_maybe(own, LoadBalancerSettings))
    distribution = _DISTRIBUTIONS[case["service_traffic_distribution"]]
    plan = locality.plan(policy, distribution, slices(config, "cluster.local").cluster)
    wanted = case["result"]
    if wanted is not None and wanted["kind"] == "locality":
        wanted["setting"] = {"enabled": True, **wanted["setting"]}
    return difference.of(wanted, _told(plan))


def _enabled(setting: Json | None) -> Json | None:
    """The mesh's setting: a default of the mesh configuration says that it is enabled."""
    return {"enabled": True, **setting} if setting is not None else None


def _told(plan: Plan | None) -> Json | None:
    if plan is None:
        return None
    setting = json.loads(msgspec.json.encode(plan.setting, enc_hook=encode_hook))
    if plan.zone_aware is None:
        return {"kind": "locality", "setting": {"enabled": True, **setting}, "force_failover": plan.failover}
    told = {"kind": "zone_aware", "setting": setting, "force_failover": plan.failover}
    return {**told, "routing_enabled": plan.failover}
