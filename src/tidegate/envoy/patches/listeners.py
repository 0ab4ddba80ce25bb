"""Patches of one listener: of itself, its listener filters, filter chains, network filters and HTTP filters."""

from collections.abc import Callable
from typing import Any

from tidegate.api.envoyfilter import ApplyTo, FilterChainMatch, ListenerMatch, Operation
from tidegate.api.validation.envoy_filter import MANAGER, OLD_NAMES
from tidegate.envoy import protos
from tidegate.envoy.patches import routes
from tidegate.envoy.patches.elements import Element, Elements
from tidegate.envoy.patches.merge import MergeError, merge, merge_extension, merge_with_socket
from tidegate.envoy.patches.patch import Patch
from tidegate.envoy.patches.selection import PatchSet
from tidegate.kit import naming

KINDS = (
    ApplyTo.LISTENER,
    ApplyTo.LISTENER_FILTER,
    ApplyTo.FILTER_CHAIN,
    ApplyTo.NETWORK_FILTER,
    ApplyTo.HTTP_FILTER,
)
_CAPTURING = frozenset((naming.VIRTUAL_INBOUND, naming.VIRTUAL_OUTBOUND))
_NO_CHAIN = FilterChainMatch()


def concerning(patches: PatchSet, name: str) -> PatchSet:
    """The patches that can have to do with the listener ``name`` and what is in it; route patches hold for the route
    configurations that stand in it."""
    mine = tuple(
        patch
        for patch in patches.of(*KINDS)
        if not _adds_listener(patch) and (patch.match.listener is None or patch.match.listener.name in ("", name))
    )
    return PatchSet((*mine, *patches.of(*routes.KINDS)))


def _adds_listener(patch: Patch) -> bool:
    return patch.apply_to is ApplyTo.LISTENER and patch.operation is Operation.ADD


def added(patches: PatchSet) -> list[Patch]:
    return [patch for patch in patches.of(ApplyTo.LISTENER) if _adds_listener(patch)]


class ListenerPatching:
    """Applies a set of patches to one listener, in Istio's order."""

    def __init__(self, listener: Any, patches: PatchSet) -> None:
        self._listener, self._patches = listener, patches
        self.by: list[Patch] = []
        """Patches of the listener itself."""
        self.removed = False
        self.fields: dict[str, Elements] = {}
        """Edits of the listener's lists, by field."""
        self.failed: dict[Patch, str] = {}
        """Patches that suit the place but not what stands there, and why."""

    def apply(self) -> None:
        for patch in self._meant(ApplyTo.LISTENER):
            self.by.append(patch)
            if patch.operation is Operation.REMOVE:
                self.removed = True
                return
            merge(self._listener, patch.value, replace_lists=patch.replaces_lists)
        self._filters()
        self._chains("filter_chains", Elements(self._listener.filter_chains))
        if self._listener.HasField("default_filter_chain"):
            self._default_chain()

    def _meant(self, kind: ApplyTo) -> list[Patch]:
        return [
            p
            for p in self._patches.of(kind)
            if self._matches(p.match.listener, kind) and (kind is not ApplyTo.LISTENER or _changes_whole(p))
        ]

    def _matches(self, match: ListenerMatch | None, kind: ApplyTo) -> bool:
        """Of a capturing listener the port is that of a filter chain, unless the listener itself is patched."""
        listener = self._listener
        if match is None:
            return True
        if match.name and match.name != listener.name:
            return False
        if kind is not ApplyTo.LISTENER and listener.name in _CAPTURING:
            return True
        return match.port_number in (0, listener.address.socket_address.port_value)

    def _filters(self) -> None:
        found = Elements(self._listener.listener_filters)
        for patch in self._meant(ApplyTo.LISTENER_FILTER):
            wanted = patch.match.listener.listener_filter if patch.match.listener is not None else ""
            found.place(patch, _named(wanted))
        found.store(self._listener, "listener_filters")
        self.fields["listener_filters"] = found

    def _chains(self, name: str, chains: Elements) -> None:
        for element in list(chains):
            remover = self._chain(element)
            if remover is not None:
                chains.remove(element, remover)
        for patch in self._meant(ApplyTo.FILTER_CHAIN):
            if patch.operation is Operation.ADD:
                chains.insert(len(chains.all), patch)
        chains.store(self._listener, name)
        self.fields[name] = chains

    def _default_chain(self) -> None:
        element = Element(self._listener.default_filter_chain, 0)
        remover = self._chain(element)
        if remover is not None:
            self._listener.ClearField("default_filter_chain")
            self.by.append(remover)
        self.by += element.by
        for inner in element.inner.values():
            self.by += inner.patches()

    def _chain(self, element: Element) -> Patch | None:
        """Patch one filter chain and its filters; returns the patch that removes it, or None."""
        for patch in self._on_chain(ApplyTo.FILTER_CHAIN, element.message):
            if patch.operation is Operation.REMOVE:
                return patch
            if patch.merges:
                self._join(merge_with_socket, element, patch)
        self._network_filters(element)
        return None

    def _join(self, how: Callable[..., None], element: Element, patch: Patch) -> None:
        try:
            how(element.message, patch.value, replace_lists=patch.replaces_lists)
        except MergeError as error:
            self.failed[patch] = str(error)
        else:
            element.by.append(patch)

    def _on_chain(self, kind: ApplyTo, chain: Any) -> list[Patch]:
        return [p for p in self._meant(kind) if self._is_chain(p.match.listener, chain)]

    def _is_chain(self, match: ListenerMatch | None, chain: Any) -> bool:
        if match is None:
            return True
        given, wanted = chain.filter_chain_match, match.filter_chain or _NO_CHAIN
        port = given.destination_port.value
        if self._listener.name in _CAPTURING and match.port_number not in (0, port):
            return False
        protocols = filter(None, (each.strip() for each in wanted.application_protocols.split(",")))
        return (
            wanted.name in ("", chain.name)
            and (not wanted.sni or wanted.sni in given.server_names)
            and wanted.transport_protocol in ("", given.transport_protocol)
            and all(each in given.application_protocols for each in protocols)
            and wanted.destination_port in (0, port)
            and wanted.transport_socket in ("", chain.transport_socket.name)
        )

    def _network_filters(self, chain: Element) -> None:
        found = Elements(chain.message.filters)
        for patch in self._on_chain(ApplyTo.NETWORK_FILTER, chain.message):
            if not patch.merges:
                found.place(patch, _named(_filter_name(patch)))
        for element in found:
            self._network_filter(chain.message, element)
        found.store(chain.message, "filters")
        chain.inner["filters"] = found

    def _network_filter(self, chain: Any, element: Element) -> None:
        for patch in self._on_chain(ApplyTo.NETWORK_FILTER, chain):
            if patch.merges and _is_filter(patch, element.message) and element.message.HasField("typed_config"):
                self._join(merge_extension, element, patch)
        if element.message.name == MANAGER:
            self._manager(chain, element)

    def _manager(self, chain: Any, element: Element) -> None:
        """HTTP filters, and routes that stand in the connection manager, which is opened only where it must be."""
        patches = [p for p in self._on_chain(ApplyTo.HTTP_FILTER, chain) if _is_filter(p, element.message)]
        routing = bool(self._patches.of(*routes.KINDS))
        if not patches and not routing:
            return
        manager = protos.HttpConnectionManager.FromString(element.message.typed_config.value)
        if routing and manager.HasField("route_config"):
            _patch_inline(element, manager, self._patches)
        found = Elements(manager.http_filters)
        self._http_filters(found, patches)
        found.store(manager, "http_filters")
        element.inner["typed_config.http_filters"] = found
        if element.by or any(True for inner in element.inner.values() for _ in inner.patches()):
            element.message.typed_config.value = manager.SerializeToString(deterministic=True)

    def _http_filters(self, found: Elements, patches: list[Patch]) -> None:
        for patch in patches:
            if not patch.merges:
                found.place(patch, _named(_sub_filter_name(patch)))
        for element in found:
            for patch in patches:
                wanted, typed = _sub_filter_name(patch), element.message.HasField("typed_config")
                if patch.merges and typed and (not wanted or _same(wanted, element.message.name)):
                    self._join(merge_extension, element, patch)


def _changes_whole(patch: Patch) -> bool:
    return patch.merges or patch.operation is Operation.REMOVE


def _patch_inline(element: Element, manager: Any, patches: PatchSet) -> None:
    config = manager.route_config
    mine = routes.concerning(patches, config.name)
    element.by += routes.merge_whole(config, mine)
    hosts = Elements(config.virtual_hosts)
    routes.apply_hosts(hosts, mine)
    hosts.store(config, "virtual_hosts")
    element.inner["typed_config.route_config.virtual_hosts"] = hosts


def _filter_name(patch: Patch) -> str:
    match = patch.match.listener
    chain = match.filter_chain if match is not None else None
    return chain.filter.name if chain is not None and chain.filter is not None else ""


def _sub_filter_name(patch: Patch) -> str:
    match = patch.match.listener
    chain = match.filter_chain if match is not None else None
    sub = chain.filter.sub_filter if chain is not None and chain.filter is not None else None
    return sub.name if sub is not None else ""


def _is_filter(patch: Patch, message: Any) -> bool:
    wanted = _filter_name(patch)
    return not wanted or _same(wanted, message.name)


def _same(wanted: str, name: str) -> bool:
    """Old names of filters stand for the new ones."""
    return wanted == name or OLD_NAMES.get(wanted) == name


def _named(wanted: str) -> Any:
    return (lambda message: _same(wanted, message.name)) if wanted else None
