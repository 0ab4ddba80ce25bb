"""From the values that policies write to the matchers that Envoy compares with.

A value is a text, ``*`` for any, ``x*`` for a beginning or ``*x`` for an end.
"""

import re
from collections.abc import Sequence
from typing import Any

from tidegate.api.validation.authorization_policy import is_template
from tidegate.envoy import protos
from tidegate.envoy.security import messages as m

PRESENT = ".+"
JWT_FILTER, PAYLOAD = "envoy.filters.http.jwt_authn", "payload"
"""Where the claims of an accepted token are found: filter metadata, and the key in it."""
_SPIFFE = "spiffe://"
_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$])")


def quote(text: str) -> str:
    """``text`` as RE2 takes it literally."""
    return _SPECIAL.sub(r"\\\1", text)


def regex(pattern: str) -> Any:
    return m.StringMatcher(safe_regex=m.RegexMatcher(regex=pattern))


def text(value: str, *, ignore_case: bool = False) -> Any:
    """StringMatcher of a value."""
    if value == "*":
        return regex(PRESENT)
    if value.endswith("*"):
        return m.StringMatcher(prefix=value[:-1], ignore_case=ignore_case)
    if value.startswith("*"):
        return m.StringMatcher(suffix=value[1:], ignore_case=ignore_case)
    return m.StringMatcher(exact=value, ignore_case=ignore_case)


def cidr(value: str) -> Any:
    """CidrRange of an address or a CIDR. The zone of an IPv6 address means nothing to Envoy."""
    address, slash, bits = value.partition("/")
    length = int(bits) if slash else 128 if ":" in address else 32
    return protos.CidrRange(address_prefix=address.partition("%")[0], prefix_len=protos.u32(length))


def header(name: str, value: str, *, ignore_case: bool = False) -> Any:
    if value == "*":
        return protos.HeaderMatcher(name=name, present_match=True)
    return protos.HeaderMatcher(name=name, string_match=text(value, ignore_case=ignore_case))


# Identities of peers: URI SANs of their certificates


def principal(value: str) -> Any:
    """StringMatcher of ``trust-domain/ns/namespace/sa/account``."""
    if value == "*":
        return regex(PRESENT)
    if value.startswith("*"):
        return regex(f"{_SPIFFE}.*{quote(value[1:])}")
    return text(_SPIFFE + value)


def namespace(value: str) -> Any:
    return regex(f".*/ns/{_any(value, '.*')}/.*")


def trust_domain(value: str) -> Any:
    if "*" in value:
        return regex(f"{_SPIFFE}{_any(value, '[^/]*')}/.*")
    return m.StringMatcher(prefix=f"{_SPIFFE}{value}/")


def service_account(value: str, own_namespace: str) -> Any:
    """StringMatcher of ``namespace/account``, or of an account of the policy's own namespace."""
    space, _, name = value.rpartition("/")
    return regex(f"{_SPIFFE}.+/ns/{quote(space or own_namespace)}/(.+/|)sa/{quote(name)}(/.+)?")


def _any(value: str, wild: str) -> str:
    return quote(value).replace(r"\*", wild)


# Paths and metadata


def path(value: str) -> Any:
    """Permission of one path or path template."""
    if is_template(value):
        config = m.UriTemplateMatch(path_template=value.replace("{*}", "*").replace("{**}", "**"))
        return m.Permission(uri_template=protos.extension("uri-template", config))
    return m.Permission(url_path=m.PathMatcher(path=text(value)))


def metadata(source: str, keys: Sequence[str], value: Any) -> Any:
    """MetadataMatcher of the value (ValueMatcher) at a path."""
    return m.MetadataMatcher(filter=source, path=[{"key": key} for key in keys], value=value)


def one_of(matchers: Sequence[Any]) -> Any:
    """ValueMatcher that any of several satisfies."""
    if len(matchers) == 1:
        return matchers[0]
    return m.ValueMatcher(or_match={"value_matchers": matchers})


def in_list(matcher: Any) -> Any:
    return m.ValueMatcher(list_match={"one_of": matcher})


def of_text(value: str) -> Any:
    """ValueMatcher of a value."""
    return m.ValueMatcher(string_match=text(value))


def claim(keys: Sequence[str], values: Sequence[str]) -> Any:
    """MetadataMatcher of a claim that is one of ``values``, or a list with one of them."""
    wanted = one_of([of_text(value) for value in values])
    value = m.ValueMatcher(or_match={"value_matchers": [in_list(wanted), wanted]})
    return metadata(JWT_FILTER, (PAYLOAD, *keys), value)


def request_principal(value: str) -> Any:
    """Principal of a token's ``issuer/subject``.

    The two are separate claims, so the value is cut at its last slash; a beginning or end without one is about the
    issuer or the subject alone.
    """
    issuer, subject = _issuer_and_subject(value)
    pair = [(("iss",), issuer), (("sub",), subject)]
    ids = [m.Principal(metadata=metadata(JWT_FILTER, (PAYLOAD, *keys), value)) for keys, value in pair]
    return m.Principal(and_ids={"ids": ids})


def _issuer_and_subject(value: str) -> tuple[Any, Any]:
    """ValueMatchers of the two."""
    issuer, slash, subject = value.rpartition("/")
    if slash and not issuer.endswith(":/"):
        return of_text(issuer), of_text(subject)
    if value.startswith("*"):
        return of_text("*"), of_text(value)
    return of_text(value), of_text("*" if value.endswith("*") else "")
