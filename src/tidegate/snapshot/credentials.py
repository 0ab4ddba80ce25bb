"""The step of Secrets and ConfigMaps that hold certificates: only those are kept, and nothing is derived from them."""

from collections.abc import Collection
from typing import Any

from tidegate.api.objects import Object, Ref
from tidegate.snapshot.tables import Tables

Old = Object[Any] | None

_PAIRS = (("tls.crt", "tls.key"), ("cert", "key"))
_ROOTS = ("cacert", "ca.crt")
_TOKEN = "kubernetes.io/service-account-token"


def is_credential(obj: Object[Any]) -> bool:
    """Whether it has a certificate with its key, or trusted roots, under the names that Kubernetes and Istio use.

    Tokens of ServiceAccounts, which hold the API server's roots, and all other configuration are nothing to proxies.
    """
    if obj.ref.kind == "ConfigMap":
        return any(name in obj.spec.data for name in _ROOTS)
    return bool(obj.spec.type != _TOKEN and _has_any(obj.spec.data))


def _has_any(data: Collection[str]) -> bool:
    return any(name in data for name in _ROOTS) or any(all(n in data for n in pair) for pair in _PAIRS)


class CredentialStep:
    """``take`` is all there is to do."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.changed: set[Ref] = set()

    def take(self, ref: Ref, old: Old, new: Old) -> None:
        del old, new  # the object itself stands among the world's objects
        self.changed.add(ref)
