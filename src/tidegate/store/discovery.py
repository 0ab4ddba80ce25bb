"""Which groups, versions and resources there are: the documents that clients read before anything else."""

from collections.abc import Callable
from itertools import groupby

from tidegate import __version__
from tidegate.api.kinds import SERVED, Kind
from tidegate.store.model import Json
from tidegate.store.paths import subresources

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_KUBERNETES = "1.35"
_REVIEWS: dict[tuple[str, str], list[tuple[str, str]]] = {
    ("authentication.k8s.io", "v1"): [
        ("tokenreviews", "TokenReview"),
        ("selfsubjectreviews", "SelfSubjectReview"),
    ],
    ("authorization.k8s.io", "v1"): [("selfsubjectaccessreviews", "SelfSubjectAccessReview")],
}
"""Resources that only answer to create, and are not kept."""


def group_versions() -> dict[str, list[str]]:
    """Group ("" is the core) to its versions, preferred first."""
    found: dict[str, list[str]] = {}
    for kind in SERVED:
        versions = found.setdefault(kind.group, [])
        versions += [v for v in kind.versions if v not in versions]
    for group, version in _REVIEWS:
        found.setdefault(group, []).append(version)
    return found


def kinds_of(group: str, version: str) -> list[Kind]:
    return [k for k in SERVED if k.group == group and version in k.versions]


def version_info() -> Json:
    """A Kubernetes version for clients that compare it, and tidegate's own in its build metadata."""
    major, minor = _KUBERNETES.split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{_KUBERNETES}.0+tidegate-{__version__}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "CPython",
        "platform": "linux",
    }


def core_versions() -> Json:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups() -> Json:
    names = [group for group in group_versions() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group_document(name) for name in names]}


def group_document(group: str) -> Json:
    versions = [{"groupVersion": f"{group}/{v}", "version": v} for v in group_versions()[group]]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": group,
        "versions": versions,
        "preferredVersion": versions[0],
    }


def resources(group: str, version: str) -> Json:
    """APIResourceList of one group version."""
    found = [entry for kind in kinds_of(group, version) for entry in _entries(kind)]
    for plural, kind_name in _REVIEWS.get((group, version), []):
        found.append({"name": plural, "singularName": "", "namespaced": False, "kind": kind_name, "verbs": ["create"]})
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": found,
    }


def _entries(kind: Kind) -> list[Json]:
    main: Json = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": _VERBS,
    }
    if kind.short_names:
        main["shortNames"] = list(kind.short_names)
    if categories := _categories(kind):
        main["categories"] = categories
    return [main] + [_sub_entry(kind, sub) for sub in subresources(kind)]


def _sub_entry(kind: Kind, subresource: str) -> Json:
    entry: Json = {
        "name": f"{kind.plural}/{subresource}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": ["get", "patch", "update"],
    }
    if subresource == "scale":
        entry |= {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    if subresource == "token":
        entry |= {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest", "verbs": ["create"]}
    return entry


def _categories(kind: Kind) -> list[str]:
    return list(kind.categories) or (["all"] if kind.kind in ("Pod", "Service") else [])


def aggregated(*, core: bool) -> Json:
    """APIGroupDiscoveryList (apidiscovery.k8s.io/v2), of ``/api`` or of ``/apis``."""
    wanted: Callable[[str], bool] = (lambda g: not g) if core else bool
    items = []
    for group, versions in group_versions().items():
        if wanted(group):
            metadata = {"name": group} if group else {}
            items.append({"metadata": metadata, "versions": [_aggregated_version(group, v) for v in versions]})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _aggregated_version(group: str, version: str) -> Json:
    listed = resources(group, version)["resources"]
    merged = [
        _aggregated_resource(group, version, list(entries))
        for _, entries in groupby(listed, key=lambda entry: entry["name"].partition("/")[0])
    ]
    return {"version": version, "resources": merged, "freshness": "Current"}


def _aggregated_resource(group: str, version: str, entries: list[Json]) -> Json:
    main, *subs = entries
    shown: Json = {
        "resource": main["name"],
        "responseKind": {"group": group, "version": version, "kind": main["kind"]},
        "scope": "Namespaced" if main["namespaced"] else "Cluster",
        "singularResource": main["singularName"],
        "verbs": main["verbs"],
    }
    for field in ("shortNames", "categories"):
        if field in main:
            shown[field] = main[field]
    if subs:
        shown["subresources"] = [
            {
                "subresource": sub["name"].partition("/")[2],
                "responseKind": {
                    "group": sub.get("group", group),
                    "version": sub.get("version", version),
                    "kind": sub["kind"],
                },
                "verbs": sub["verbs"],
            }
            for sub in subs
        ]
    return shown
