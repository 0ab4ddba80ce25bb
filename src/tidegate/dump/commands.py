"""What each ``proxy-config`` question answers, from text to text; where the text comes from is the caller's matter."""

import datetime
import functools
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import yaml

from tidegate.dump import policies as policy_table
from tidegate.dump import tables, whole
from tidegate.dump.model import ClusterStatuses, LoadAssignment
from tidegate.dump.read import BOOTSTRAP, ECDS, SECRETS, Dump, DumpError, camel, decode, parse
from tidegate.dump.redact import redact

OUTPUTS = ("short", "json", "yaml")


def listeners(dump: Dump, output: str, keep: tables.ListenerFilter, *, verbose: bool = True, name: str = "") -> str:
    found = [each for each in dump.listeners() if not name or each.name == name]
    if output != "short":
        names = {each.name for each in found if keep.keeps(each)}
        return structured(tables.kept_raw(dump.raw_listeners(), names), output)
    if verbose:
        return tables.render(tables.LISTENER_COLUMNS, tables.listener_rows(found, keep), padding=1)
    return tables.render(tables.LISTENER_TYPE_COLUMNS, tables.listener_type_rows(found, keep), padding=1)


def clusters(dump: Dump, output: str, keep: tables.ClusterFilter) -> str:
    found = dump.clusters()
    if output == "short":
        return tables.render(tables.CLUSTER_COLUMNS, tables.cluster_rows(found, keep))
    order = [c.name for c in tables.sort_clusters(c for c in found if keep.keeps(c))]
    raw = {each.get("name", ""): each for each in dump.raw_clusters()}
    return structured([raw[name] for name in order], output)


def routes(dump: Dump, output: str, *, name: str = "", verbose: bool = True) -> str:
    found = dump.routes()
    if output != "short":
        kept = [raw for raw in dump.raw_routes() if not name or raw.get("name", "") == name]
        kept.sort(key=functools.cmp_to_key(lambda a, b: _route_order(a) - _route_order(b)))
        return structured(kept, output)
    if verbose:
        return tables.render(tables.ROUTE_COLUMNS, tables.route_rows(found, name))
    return tables.render(tables.ROUTE_SUMMARY_COLUMNS, tables.route_summary_rows(found, name))


def _route_order(raw: dict[str, Any]) -> int:
    name = str(raw.get("name", ""))
    return int(name) if name.isdigit() else (1 << 31 if name else 1 << 32)


def endpoints(statuses: bytes, output: str, keep: tables.EndpointFilter) -> str:
    """``statuses``: the admin port's answer to ``/clusters?format=json``."""
    answer, typed = _statuses(statuses)
    if output == "short":
        return tables.render(tables.ENDPOINT_COLUMNS, tables.endpoint_rows(typed, keep))
    names = {row[3] for row in tables.endpoint_rows(typed, keep)}
    return structured([c for c in answer.get("clusterStatuses", ()) if c.get("name") in names], output)


def cluster_statuses(text: bytes) -> ClusterStatuses:
    """The admin port's answer to ``/clusters?format=json``. Raises DumpError for anything else."""
    return _statuses(text)[1]


def _statuses(text: bytes) -> tuple[Any, ClusterStatuses]:
    """As it came, and typed."""
    try:
        answer = camel(msgspec.json.decode(text))
        return answer, msgspec.convert(answer, ClusterStatuses, strict=False)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise DumpError(f"not an answer of Envoy's /clusters?format=json: {error}") from None


def assignments(dump: Dump, output: str, keep: tables.EndpointFilter) -> str:
    """Endpoints as a dump taken with include_eds holds them."""
    found = dump.endpoints()
    if output == "short":
        return tables.render(tables.ASSIGNMENT_COLUMNS, tables.assignment_rows(found, keep))
    narrowed = (_narrowed(raw, typed, keep) for raw, typed in zip(dump.raw_endpoints(), found, strict=True))
    kept = [each for each in narrowed if any("lbEndpoints" in group for group in each.get("endpoints", ()))]
    return structured(sorted(kept, key=lambda each: tables.by_host(each.get("clusterName", ""))), output)


def _narrowed(raw: dict[str, Any], typed: LoadAssignment, keep: tables.EndpointFilter) -> dict[str, Any]:
    """A load assignment with those of its endpoints that are asked for."""
    groups = []
    for group, known in zip(raw.get("endpoints") or (), typed.endpoints, strict=True):
        pairs = zip(group.get("lbEndpoints") or (), known.lb_endpoints, strict=True)
        kept = [each for each, read in pairs if tables.keeps_endpoint(keep, read, typed.cluster_name)]
        rest = {key: value for key, value in group.items() if key != "lbEndpoints"}
        groups.append({**rest, "lbEndpoints": kept} if kept else rest)
    return {**raw, "endpoints": groups} if groups else raw


def bootstrap(dump: Dump, output: str) -> str:
    """What the proxy was started with; short: its versions."""
    if output == "short":
        return whole.versions(dump.bootstrap())
    return structured(dump.merged(BOOTSTRAP), output)


def secrets(dump: Dump, output: str, now: datetime.datetime) -> str:
    """Certificates that the proxy holds, valid as of ``now``; private keys are never shown."""
    if output == "short":
        return whole.secret_text(dump, now)
    return structured(dump.merged(SECRETS), output)


def ecds(dump: Dump, output: str) -> str:
    """Extensions that are discovered apart from the listeners that name them."""
    if output == "short":
        return tables.render(tables.ECDS_COLUMNS, tables.ecds_rows(dump.ecds()))
    return structured(dump.merged(ECDS), output)


def policies(dump: Dump) -> str:
    """AuthorizationPolicies that the proxy enforces, by action."""
    return tables.render(policy_table.COLUMNS, policy_table.table(dump.raw_dynamic_listeners()), padding=3)


def everything(text: bytes, output: str, keep: whole.Filters, now: datetime.datetime) -> Iterator[tuple[str, str]]:
    """Title and text of each part; as JSON or YAML the dump as it came, which needs no filter and has no title."""
    if output == "short":
        yield from whole.sections(parse(text), keep, now)
    else:
        yield "", structured(decode(text), output)


def structured(value: Any, output: str) -> str:
    """JSON as istioctl indents it, or YAML; without key material."""
    writer: Callable[[Any], str] = _json if output == "json" else _yaml
    try:
        value = redact(value)
        if isinstance(value, list):
            value = [{k: v for k, v in each.items() if k != "@type"} for each in value]
        return writer(value)
    except RecursionError:
        raise DumpError("the dump is nested too deeply to be printed") from None


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=4).decode() + "\n"


def _yaml(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=True, width=4096)
    return text
