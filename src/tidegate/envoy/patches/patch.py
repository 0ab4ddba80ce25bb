"""The patches of an EnvoyFilter, read once."""

import logging
from functools import lru_cache
from typing import Any

from tidegate.api.envoyfilter import ApplyTo, ConfigPatch, EnvoyFilter, ObjectMatch, Operation, PatchContext
from tidegate.api.objects import Object, Ref
from tidegate.api.validation.envoy_filter import MESSAGES
from tidegate.kit import envoy_messages
from tidegate.kit.envoy_messages import MessageError

log = logging.getLogger(__name__)

_NO_MATCH = ObjectMatch()
_INSERTS = frozenset((Operation.INSERT_BEFORE, Operation.INSERT_AFTER, Operation.INSERT_FIRST))
_INSERTED = frozenset((ApplyTo.LISTENER_FILTER, ApplyTo.NETWORK_FILTER, ApplyTo.HTTP_FILTER, ApplyTo.HTTP_ROUTE))
_ADDED_OUTBOUND = frozenset((ApplyTo.LISTENER, ApplyTo.CLUSTER))


class Patch:
    """One entry of ``configPatches``. Its identity is the object's and its place in the list."""

    __slots__ = ("_hash", "_key", "apply_to", "field", "match", "operation", "ref", "value")

    def __init__(self, found: Object[EnvoyFilter], index: int, given: ConfigPatch, value: Any) -> None:
        self.ref: Ref = found.ref
        self.field = f"spec.configPatches[{index}]"
        self.apply_to, self.match, self.value = given.apply_to, given.match or _NO_MATCH, value
        self.operation = _operation(given)
        self._key = (found.ref, found.digest, index)
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Patch) and self._key == other._key)

    def __repr__(self) -> str:
        return f"<{self.ref} {self.field} {self.operation.value} {self.apply_to.value}>"

    @property
    def merges(self) -> bool:
        return self.operation in (Operation.MERGE, Operation.MERGE_AND_REPLACE_LIST)

    @property
    def replaces_lists(self) -> bool:
        return self.operation is Operation.MERGE_AND_REPLACE_LIST

    def copy(self) -> Any:
        """The value, to be put somewhere: :attr:`value` itself must never be changed."""
        found = type(self.value)()
        found.CopyFrom(self.value)
        return found

    def holds_in(self, context: PatchContext) -> bool:
        """Whether it is for the resources of one side of a proxy. What is added in no context in particular is added
        once, with the outbound resources."""
        mine = self.match.context
        if mine is PatchContext.ANY and self.operation is Operation.ADD and self.apply_to in _ADDED_OUTBOUND:
            return context is not PatchContext.SIDECAR_INBOUND
        return mine in (PatchContext.ANY, context)


def _operation(given: ConfigPatch) -> Operation:
    """Places in a list mean something for filters and routes only; elsewhere an insertion adds."""
    operation = given.patch.operation if given.patch is not None else Operation.INVALID
    return Operation.ADD if operation in _INSERTS and given.apply_to not in _INSERTED else operation


@lru_cache(maxsize=1024)
def patches_of(found: Object[EnvoyFilter]) -> tuple[Patch, ...]:
    """The patches of one EnvoyFilter, in order. One that cannot be read is left out: admission refuses such, and a
    store that does not know Istio's rules must not stop the others."""
    out = []
    for index, given in enumerate(found.spec.config_patches):
        try:
            out.append(Patch(found, index, given, _value(given)))
        except MessageError as error:
            log.warning("%s: spec.configPatches[%d].patch.value is left out: %s", found.ref, index, error)
    return tuple(out)


def _value(given: ConfigPatch) -> Any:
    name = MESSAGES.get(given.apply_to)
    if name is None or given.patch is None or given.patch.operation is Operation.REMOVE:
        return None
    return envoy_messages.decode(name, given.patch.value or {})
