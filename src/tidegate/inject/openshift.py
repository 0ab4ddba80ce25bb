"""The user and group ids that OpenShift assigns, to namespaces and to containers.

https://docs.openshift.com/container-platform/latest/authentication/managing-security-context-constraints.html
"""

import re
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

_USERS, _GROUPS = "openshift.io/sa.scc.uid-range", "openshift.io/sa.scc.supplemental-groups"
_RULES = ("istio-init", "istio-validation")


def last_ids(annotations: Mapping[str, str]) -> tuple[int, int]:
    """User and group for the proxies of a namespace: the last of its ranges, which no workload gets by default. 0 for
    a range that is not there."""
    users = annotations.get(_USERS, "")
    return _last(users), _last(annotations.get(_GROUPS, users))


def _last(text: str) -> int:
    """The end of the first range, ``start/size`` or ``start-end``."""
    match = re.match(r"^(\d{1,10})[/-](\d{1,10})", text)
    if match is None:
        return 0
    first, second = int(match[1]), int(match[2])
    return second if "-" in match[0] else first + second - 1


def without_assigned(spec: Json, proxy: str) -> Json:
    """A pod's spec without the ids of its own proxy container where they are those of its application: these were
    written into every container, and are nobody's choice for the proxy."""
    out = dict(spec)
    for part in ("containers", "initContainers"):
        for place, each in enumerate(spec.get(part) or ()):
            if each.get("name") == proxy and each.get("securityContext") and _user([each]) == _application(spec, proxy):
                kept = {k: v for k, v in each["securityContext"].items() if k not in ("runAsUser", "runAsGroup")}
                out[part] = [*out[part][:place], {**each, "securityContext": kept}, *out[part][place + 1 :]]
    return out


def _application(spec: Json, proxy: str) -> int:
    own = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return _user([each for each in own if each.get("name") not in (proxy, *_RULES)])


def _user(containers: list[Json]) -> int:
    """The user of the last container that names one."""
    found = [(each.get("securityContext") or {}).get("runAsUser") for each in containers]
    return next((each for each in reversed(found) if each is not None), 0)
