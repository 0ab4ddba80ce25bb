"""The networks that Multus attaches to a pod. https://github.com/k8snetworkplumbingwg/multus-cni"""

import json


def with_network(existing: str, name: str) -> str:
    """The network among those that there are, in the form, names or JSON, that they are given in."""
    if not existing.strip():
        return name
    if not existing.strip().startswith("["):
        return existing if name in (part.strip() for part in existing.split(",")) else f"{existing}, {name}"
    try:
        found = json.loads(existing)
    except ValueError:
        return existing
    namespace, _, plain = name.rpartition("/")
    known = any(isinstance(e, dict) and (e.get("name"), e.get("namespace")) == (plain, namespace) for e in found)
    return existing if known else json.dumps([*found, {"name": plain, "namespace": namespace}])
