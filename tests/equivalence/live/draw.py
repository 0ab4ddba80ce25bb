"""The small words of which worlds and connections are drawn."""

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]
Draw = Any


def choice(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


def some(pool: Iterable[Any], most: int, least: int = 0) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(list(pool)), min_size=least, max_size=most, unique_by=repr)


def chance(percent: int) -> st.SearchStrategy[bool]:
    return st.integers(0, 99).map(lambda number: number < percent)


def document(kind: str, version: str, name: str, namespace: str, spec: Json, **meta: Any) -> Json:
    found = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace, **meta}}
    return {**found, "spec": spec}


def networking(kind: str, name: str, namespace: str, spec: Json) -> Json:
    return document(kind, "networking.istio.io/v1", name, namespace, spec)
