"""security.istio.io: who may call whom, and how callers prove who they are.

As in :mod:`tidegate.api.networking`, each field's ``doc(...)`` is what decoding, validation and schemas read.
"""

import enum
from typing import Annotated

from msgspec import field

from tidegate.api.fields import Duration, Message, doc
from tidegate.api.networking import MatchLabelsSelector
from tidegate.api.selection import PolicyTargetReference


class Action(enum.StrEnum):
    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"
    CUSTOM = "CUSTOM"


class MutualTLSMode(enum.StrEnum):
    UNSET = "UNSET"
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


class Presence(enum.StrEnum):
    OPTIONAL = "OPTIONAL"
    REQUIRED = "REQUIRED"


class Source(Message, frozen=True):
    """security.v1beta1.Source."""

    principals: Annotated[tuple[str, ...], doc("mTLS identities td/ns/<ns>/sa/<sa>, prefix/suffix *")] = ()
    not_principals: Annotated[tuple[str, ...], doc("negated principals")] = ()
    request_principals: Annotated[tuple[str, ...], doc("JWT iss/sub")] = ()
    not_request_principals: Annotated[tuple[str, ...], doc("negated request principals")] = ()
    namespaces: Annotated[tuple[str, ...], doc("mTLS namespaces")] = ()
    not_namespaces: Annotated[tuple[str, ...], doc("negated namespaces")] = ()
    service_accounts: Annotated[tuple[str, ...], doc("ns/sa or sa", max_items=16, item_max_length=320)] = ()
    not_service_accounts: Annotated[
        tuple[str, ...], doc("negated service accounts", max_items=16, item_max_length=320)
    ] = ()
    ip_blocks: Annotated[tuple[str, ...], doc("packet source IPs/CIDRs")] = ()
    not_ip_blocks: Annotated[tuple[str, ...], doc("negated IP blocks")] = ()
    remote_ip_blocks: Annotated[tuple[str, ...], doc("original client IPs via XFF/PROXY")] = ()
    not_remote_ip_blocks: Annotated[tuple[str, ...], doc("negated remote IP blocks")] = ()
    trust_domains: Annotated[tuple[str, ...], doc("trust domains of callers, * at either end")] = ()
    not_trust_domains: Annotated[tuple[str, ...], doc("negated trust domains")] = ()


class From(Message, frozen=True):
    """security.v1beta1.Rule.From."""

    source: Annotated[Source | None, doc("source attributes (AND)")] = None


class Operation(Message, frozen=True):
    """security.v1beta1.Operation."""

    hosts: Annotated[tuple[str, ...], doc("Host header values")] = ()
    not_hosts: Annotated[tuple[str, ...], doc("negated hosts")] = ()
    ports: Annotated[tuple[str, ...], doc("destination ports")] = ()
    not_ports: Annotated[tuple[str, ...], doc("negated ports")] = ()
    methods: Annotated[tuple[str, ...], doc("HTTP methods")] = ()
    not_methods: Annotated[tuple[str, ...], doc("negated methods")] = ()
    paths: Annotated[tuple[str, ...], doc("paths, * prefix/suffix, {*} {**} templates")] = ()
    not_paths: Annotated[tuple[str, ...], doc("negated paths")] = ()


class To(Message, frozen=True):
    """security.v1beta1.Rule.To."""

    operation: Annotated[Operation | None, doc("operation attributes (AND)")] = None


class Condition(Message, frozen=True):
    """security.v1beta1.Condition."""

    key: Annotated[str, doc("attribute such as request.headers[x]", required=True)] = ""
    values: Annotated[tuple[str, ...], doc("allowed")] = ()
    not_values: Annotated[tuple[str, ...], doc("denied")] = ()


class Rule(Message, frozen=True):
    """security.v1beta1.Rule."""

    from_: Annotated[tuple[From, ...] | None, doc("sources (OR)", max_items=512)] = field(default=None, name="from")
    to: Annotated[tuple[To, ...] | None, doc("operations (OR)")] = None
    when: Annotated[tuple[Condition, ...], doc("conditions (AND)")] = ()


class AuthorizationProvider(Message, frozen=True):
    """security.v1beta1.AuthorizationPolicy.ExtensionProvider."""

    name: Annotated[str, doc("mesh extension provider")] = ""


class AuthorizationPolicy(Message, frozen=True):
    """security.v1beta1.AuthorizationPolicy."""

    selector: Annotated[MatchLabelsSelector | None, doc("workload labels")] = None
    target_ref: Annotated[PolicyTargetReference | None, doc("attachment")] = None
    target_refs: Annotated[tuple[PolicyTargetReference, ...], doc("attachments", max_items=16)] = ()
    rules: Annotated[tuple[Rule, ...], doc("any rule match applies action; none never matches", max_items=512)] = ()
    action: Annotated[Action, doc("what happens on match")] = Action.ALLOW
    provider: Annotated[AuthorizationProvider | None, doc("external authorizer for CUSTOM", oneof="action_detail")] = (
        None
    )


class MutualTLS(Message, frozen=True):
    """security.v1beta1.PeerAuthentication.MutualTLS."""

    mode: Annotated[MutualTLSMode, doc("mTLS mode; UNSET inherits, then PERMISSIVE")] = MutualTLSMode.UNSET


class PeerAuthentication(Message, frozen=True):
    """security.v1beta1.PeerAuthentication."""

    selector: Annotated[MatchLabelsSelector | None, doc("workload labels")] = None
    mtls: Annotated[MutualTLS | None, doc("mode for all ports")] = None
    port_level_mtls: Annotated[dict[str, MutualTLS] | None, doc("mode by workload port", min_properties=1)] = None


class JWTHeader(Message, frozen=True):
    """security.v1beta1.JWTHeader."""

    name: Annotated[str, doc("header", required=True, min_length=1)] = ""
    prefix: Annotated[str, doc("value prefix")] = ""


class ClaimToHeader(Message, frozen=True):
    """security.v1beta1.ClaimToHeader."""

    header: Annotated[str, doc("header name", required=True, min_length=1, pattern="^[-_A-Za-z0-9]+$")] = ""
    claim: Annotated[str, doc("claim name", required=True, min_length=1)] = ""


class JWTRule(Message, frozen=True):
    """security.v1beta1.JWTRule."""

    issuer: Annotated[str, doc("iss claim", min_length=1)] = ""
    audiences: Annotated[tuple[str, ...], doc("allowed aud", item_min_length=1)] = ()
    jwks_uri: Annotated[str, doc("key set URL", min_length=1, max_length=2048)] = ""
    jwks: Annotated[str, doc("inline key set")] = ""
    from_headers: Annotated[tuple[JWTHeader, ...], doc("token header places")] = ()
    from_params: Annotated[tuple[str, ...], doc("token query params", item_min_length=1)] = ()
    output_payload_to_header: Annotated[str, doc("header for base64 payload")] = ""
    from_cookies: Annotated[tuple[str, ...], doc("token cookies", item_min_length=1)] = ()
    forward_original_token: Annotated[bool, doc("keep token to upstream")] = False
    output_claim_to_headers: Annotated[tuple[ClaimToHeader, ...], doc("claims copied to headers")] = ()
    timeout: Annotated[Duration | None, doc("time to fetch the key set, 5s")] = None
    space_delimited_claims: Annotated[
        tuple[str, ...], doc("claims treated as lists", max_items=64, item_min_length=1)
    ] = ()
    presence: Annotated[Presence, doc("token required or optional")] = Presence.OPTIONAL


class RequestAuthentication(Message, frozen=True):
    """security.v1beta1.RequestAuthentication."""

    selector: Annotated[MatchLabelsSelector | None, doc("workload labels")] = None
    target_ref: Annotated[PolicyTargetReference | None, doc("attachment")] = None
    target_refs: Annotated[tuple[PolicyTargetReference, ...], doc("attachments", max_items=16)] = ()
    jwt_rules: Annotated[tuple[JWTRule, ...], doc("JWT issuers", max_items=4096)] = ()
