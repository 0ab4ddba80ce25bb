"""From one rule of an AuthorizationPolicy to Envoy's permissions and principals.

A rule's ``from`` and ``to`` are lists of alternatives; each alternative, and the rule's conditions, are terms that
must all hold. A term that only HTTP knows is left out of what is enforced on TCP where that makes a policy stricter
(DENY, AUDIT, CUSTOM), and takes its whole rule along where it would make it laxer (ALLOW).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from tidegate.api.security import Condition, Operation, Rule, Source
from tidegate.envoy.security import matchers
from tidegate.envoy.security import messages as m
from tidegate.envoy.security.trust import migrated

One = Callable[[str], Any]
"""Permission or Principal of one value."""
All = Callable[[tuple[str, ...]], Any]
"""The same of several values at once."""


class Term(msgspec.Struct, frozen=True):
    """One attribute and the values that it must have, or must not."""

    values: tuple[str, ...]
    not_values: tuple[str, ...]
    all_of: All
    """Permission or Principal that any of the values satisfies."""
    http: bool = False
    """Known for HTTP only."""


class Grammar(msgspec.Struct, frozen=True):
    """How Permission or Principal are put together; the two are built alike."""

    message: Any
    every: str
    """Field of the conjunction, and the field in it."""
    some: str
    inner: str
    negation: str

    def any_one(self) -> Any:
        return self.message(any=True)

    def all_of(self, found: list[Any]) -> Any:
        return self.message(**{self.every: {self.inner: found}})

    def one_of(self, found: list[Any]) -> Any:
        return self.message(**{self.some: {self.inner: found}})

    def none_of(self, found: Any) -> Any:
        return self.message(**{self.negation: found})

    def conjunction(self, terms: Iterable[Term]) -> Any:
        """All terms; any request where there are none."""
        found = [part for term in terms for part in self._parts(term)]
        return self.all_of(found or [self.any_one()])

    def _parts(self, term: Term) -> Iterator[Any]:
        if term.values:
            yield term.all_of(term.values)
        if term.not_values:
            yield self.none_of(term.all_of(term.not_values))


PERMISSION = Grammar(m.Permission, "and_rules", "or_rules", "rules", "not_rule")
PRINCIPAL = Grammar(m.Principal, "and_ids", "or_ids", "ids", "not_id")


class Scope(msgspec.Struct, frozen=True):
    """What the values of a policy are read against."""

    namespace: str
    """The policy's own."""
    trust_domains: tuple[str, ...] = ()
    """The local trust domain and its aliases."""
    tcp: bool = False
    """Enforced on connections, where nothing of HTTP is known."""
    lax: bool = False
    """ALLOW: a term left out would let more in."""


def policy_of(rule: Rule, scope: Scope) -> Any | None:
    """The Policy of one rule; None where it cannot be enforced and is better left out."""
    conditions = [(_is_permission(c.key), _condition(c, scope)) for c in rule.when]
    shared = [term for permits, term in conditions if permits]
    asked = [term for permits, term in conditions if not permits]
    targets = [[*_operation(each.operation), *shared] for each in rule.to or () if each.operation] or [shared]
    sources = [[*_source(each.source, scope), *asked] for each in rule.from_ or () if each.source] or [asked]
    if scope.tcp and scope.lax and any(t.http for terms in (*targets, *sources) for t in terms if _says(t)):
        return None
    return m.RbacPolicy(
        permissions=[PERMISSION.conjunction(_enforced(terms, scope)) for terms in targets],
        principals=[PRINCIPAL.conjunction(_enforced(terms, scope)) for terms in sources],
    )


def _says(term: Term) -> bool:
    return bool(term.values or term.not_values)


def _enforced(terms: Iterable[Term], scope: Scope) -> list[Term]:
    return [term for term in terms if not (scope.tcp and term.http)]


# Attributes of the operation


def _operation(operation: Operation) -> Iterator[Term]:
    op = operation
    yield _permits(op.hosts, op.not_hosts, _host, http=True)
    yield _permits(op.methods, op.not_methods, _method, http=True)
    yield _permits(op.paths, op.not_paths, matchers.path, http=True)
    yield _permits(op.ports, op.not_ports, _port)


def _permits(values: tuple[str, ...], not_values: tuple[str, ...], one: One, *, http: bool = False) -> Term:
    return Term(values, not_values, lambda found: PERMISSION.one_of([one(value) for value in found]), http)


def _host(value: str) -> Any:
    return m.Permission(header=matchers.header(":authority", value, ignore_case=True))


def _method(value: str) -> Any:
    return m.Permission(header=matchers.header(":method", value))


def _port(value: str) -> Any:
    return m.Permission(destination_port=int(value))


def _destination(value: str) -> Any:
    return m.Permission(destination_ip=matchers.cidr(value))


def _server_name(value: str) -> Any:
    return m.Permission(requested_server_name=matchers.text(value))


# Attributes of the source


def _source(source: Source, scope: Scope) -> Iterator[Term]:
    s, domains = source, scope.trust_domains
    yield _asks(migrated(s.principals, domains), migrated(s.not_principals, domains), _peer(matchers.principal))
    yield _claimed(s.request_principals, s.not_request_principals)
    yield _asks(s.service_accounts, s.not_service_accounts, _account(scope.namespace))
    yield _asks(s.namespaces, s.not_namespaces, _peer(matchers.namespace))
    yield _asks(s.trust_domains, s.not_trust_domains, _peer(matchers.trust_domain))
    yield _asks(s.remote_ip_blocks, s.not_remote_ip_blocks, _remote)
    yield _asks(s.ip_blocks, s.not_ip_blocks, _direct)


def _asks(values: tuple[str, ...], not_values: tuple[str, ...], one: One, *, http: bool = False) -> Term:
    return Term(values, not_values, lambda found: PRINCIPAL.one_of([one(value) for value in found]), http)


def _peer(matcher: One) -> One:
    return lambda value: m.Principal(authenticated={"principal_name": matcher(value)})


def _account(namespace: str) -> One:
    return _peer(lambda value: matchers.service_account(value, namespace))


def _remote(value: str) -> Any:
    return m.Principal(remote_ip=matchers.cidr(value))


def _direct(value: str) -> Any:
    return m.Principal(direct_remote_ip=matchers.cidr(value))


def _claimed(values: tuple[str, ...], not_values: tuple[str, ...]) -> Term:
    def all_of(found: tuple[str, ...]) -> Any:
        ids = [matchers.request_principal(value) for value in found]
        return ids[0] if len(ids) == 1 else PRINCIPAL.one_of(ids)

    return Term(values, not_values, all_of, http=True)


# Conditions

_EXPERIMENTAL = "experimental."
_CLAIMS = {"request.auth.audiences": ("aud",), "request.auth.presenter": ("azp",)}
_PERMITS: dict[str, One] = {
    "destination.ip": _destination,
    "destination.port": _port,
    "connection.sni": _server_name,
}
_ASKS: dict[str, One] = {
    "source.ip": _direct,
    "remote.ip": _remote,
    "source.namespace": _peer(matchers.namespace),
    "source.trustDomain": _peer(matchers.trust_domain),
}


def _is_permission(key: str) -> bool:
    """Whether an attribute is of the operation rather than of who asks for it."""
    return key in _PERMITS or key.startswith(_EXPERIMENTAL)


def _condition(condition: Condition, scope: Scope) -> Term:
    key, values, not_values = condition.key, condition.values, condition.not_values
    if key in _PERMITS:
        return _permits(values, not_values, _PERMITS[key])
    if key in _ASKS:
        return _asks(values, not_values, _ASKS[key])
    if key == "source.principal":
        domains = scope.trust_domains
        return _asks(migrated(values, domains), migrated(not_values, domains), _peer(matchers.principal))
    if key == "source.serviceAccount":
        return _asks(values, not_values, _account(scope.namespace))
    if key == "request.auth.principal":
        return _claimed(values, not_values)
    return _of_map(condition)


def _of_map(condition: Condition) -> Term:
    """Attributes with a name in brackets, and the claims that have an attribute of their own."""
    name, *inner = condition.key.rstrip("]").replace("][", "[").split("[")
    values, not_values = condition.values, condition.not_values
    if name == "request.headers":
        return _asks(values, not_values, _header(inner[0]), http=True)
    if name.startswith(_EXPERIMENTAL):
        source = name.removeprefix(_EXPERIMENTAL)
        return Term(values, not_values, lambda found: _filter_metadata(source, inner, found))
    keys = _CLAIMS.get(name, tuple(inner))
    return Term(values, not_values, lambda found: m.Principal(metadata=matchers.claim(keys, found)), http=True)


def _header(name: str) -> One:
    return lambda value: m.Principal(header=matchers.header(name, value))


def _filter_metadata(source: str, keys: list[str], values: tuple[str, ...]) -> Any:
    """Metadata that another filter leaves; ``[x]`` is a list that has x."""
    wanted = [_listed(value) for value in values]
    return m.Permission(metadata=matchers.metadata(source, keys, matchers.one_of(wanted)))


def _listed(value: str) -> Any:
    if value.startswith("[") and value.endswith("]"):
        return matchers.in_list(matchers.of_text(value.strip("[]")))
    return matchers.of_text(value)
