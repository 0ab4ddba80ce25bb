"""Who a bearer token belongs to: the administrator, or a ServiceAccount whose token this server signed."""

import hmac
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from tidegate.api.kinds import KINDS
from tidegate.store import status, strategy
from tidegate.store.model import Json
from tidegate.store.sqlite import Key

ISSUER = "https://kubernetes.default.svc.cluster.local"
"""Also the audience of tokens for this server itself."""
MIN_SECONDS = 600
DEFAULT_SECONDS = 3600
MAX_SECONDS = 1 << 32

_CLAIMS = "kubernetes.io"
_ALGORITHM = "ES256"


class User(msgspec.Struct, frozen=True):
    """authentication.k8s.io/v1 UserInfo."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, list[str]] = {}

    @property
    def is_admin(self) -> bool:
        return "system:masters" in self.groups

    def info(self) -> Json:
        shown: Json = {"username": self.username, "groups": list(self.groups)}
        if self.uid:
            shown["uid"] = self.uid
        return {**shown, "extra": self.extra} if self.extra else shown


ADMIN = User("admin", groups=("system:masters", "system:authenticated"))


class Authenticator:
    """Checks tokens and signs those of ServiceAccounts.

    ``read`` gives an object of the store as last committed: a token is void once its ServiceAccount or the Pod that it
    is bound to is gone.
    """

    def __init__(
        self,
        admin_token: str,
        key: ec.EllipticCurvePrivateKey,
        read: Callable[[Key], bytes | None],
        clock: strategy.Clock = strategy.utc_now,
    ) -> None:
        self._admin, self._key, self._read, self._clock = admin_token.encode(), key, read, clock
        self._public = key.public_key()

    def authenticate(self, authorization: str) -> User | None:
        """The user of an Authorization header for this server; None when it is no valid bearer token."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = token.strip()
        if hmac.compare_digest(token.encode(), self._admin):
            return ADMIN
        reviewed = self.review(token, (ISSUER,))
        return reviewed[0] if reviewed else None

    def review(self, token: str, audiences: tuple[str, ...]) -> tuple[User, list[str]] | None:
        """The user and the audiences that both sides named; None when the token is not valid for any of them."""
        audiences = audiences or (ISSUER,)
        if hmac.compare_digest(token.encode(), self._admin):
            return (ADMIN, [ISSUER]) if ISSUER in audiences else None
        try:
            claims: Json = jwt.decode(
                token,
                self._public,
                algorithms=[_ALGORITHM],
                issuer=ISSUER,
                audience=list(audiences),
                options={
                    "require": ["exp", "iat", "sub", "aud"],
                    "verify_exp": False,
                    # a clock that is set back must not void what this server itself has signed
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError:
            return None
        if not isinstance(claims["exp"], int) or claims["exp"] <= self._clock().timestamp():
            return None
        user = self._bound(claims)
        return (user, [a for a in audiences if a in claims["aud"]]) if user else None

    def _bound(self, claims: Json) -> User | None:
        """The user, if all that the token is bound to still exists."""
        bound = claims.get(_CLAIMS) or {}
        namespace, account, pod = bound.get("namespace"), bound.get("serviceaccount"), bound.get("pod")
        if not namespace or not account or not self._exists("ServiceAccount", namespace, account):
            return None
        if pod and not self._exists("Pod", namespace, pod):
            return None
        extra = {"authentication.kubernetes.io/credential-id": [f"JTI={claims.get('jti', '')}"]}
        if pod:
            extra["authentication.kubernetes.io/pod-name"] = [pod["name"]]
            extra["authentication.kubernetes.io/pod-uid"] = [pod["uid"]]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return User(f"system:serviceaccount:{namespace}:{account['name']}", account["uid"], groups, extra)

    def _exists(self, kind: str, namespace: str, wanted: Json) -> bool:
        body = self._read(Key(kind, namespace, wanted["name"]))
        if body is None:
            return False
        meta = msgspec.json.decode(body)["metadata"]
        return bool(meta["uid"] == wanted["uid"])

    def issue(self, namespace: str, name: str, request: Any) -> Json:
        """Answer a TokenRequest (authentication.k8s.io/v1) for a ServiceAccount."""
        spec = _spec(request)
        account = self._account(namespace, name)
        seconds = _seconds(spec.get("expirationSeconds"), name)
        audiences = spec.get("audiences") or [ISSUER]
        if not isinstance(audiences, list) or not all(isinstance(a, str) and a for a in audiences):
            raise status.error(400, f"spec.audiences is a list of texts, got {audiences!r:.200}")
        now = int(self._clock().timestamp())
        bound: Json = {"namespace": namespace, "serviceaccount": {"name": name, "uid": account["uid"]}}
        if (reference := spec.get("boundObjectRef")) is not None:
            bound["pod"] = self._bound_pod(namespace, name, reference)
        claims = {
            "iss": ISSUER,
            "sub": f"system:serviceaccount:{namespace}:{name}",
            "aud": audiences,
            "iat": now,
            "nbf": now,
            "exp": now + seconds,
            "jti": str(uuid.uuid4()),
            _CLAIMS: bound,
        }
        token = jwt.encode(claims, self._key, algorithm=_ALGORITHM)
        return _token_answer(
            namespace, name, {**spec, "audiences": audiences, "expirationSeconds": seconds}, token, now
        )

    def _account(self, namespace: str, name: str) -> Json:
        body = self._read(Key("ServiceAccount", namespace, name))
        if body is None:
            raise status.not_found(KINDS["ServiceAccount"], name)
        meta: Json = msgspec.json.decode(body)["metadata"]
        return meta

    def _bound_pod(self, namespace: str, account: str, reference: Any) -> Json:
        if not isinstance(reference, dict) or reference.get("kind") != "Pod":
            raise status.error(400, "spec.boundObjectRef: tokens are bound to a Pod (kind: Pod) or to nothing")
        name = str(reference.get("name") or "")
        body = self._read(Key("Pod", namespace, name))
        if body is None:
            raise status.not_found(KINDS["Pod"], name)
        pod = msgspec.json.decode(body)
        meta = pod["metadata"]
        if reference.get("uid") and reference["uid"] != meta["uid"]:
            raise status.conflict(KINDS["Pod"], name, f"its uid is {meta['uid']}, not {reference['uid']}")
        if (pod.get("spec") or {}).get("serviceAccountName", "default") != account:
            raise status.error(400, f'pod "{name}" does not run as ServiceAccount "{account}"')
        return {"name": name, "uid": meta["uid"]}


def _spec(request: Any) -> Json:
    spec = request.get("spec") if isinstance(request, dict) else None
    if spec is None and isinstance(request, dict):
        spec = {}
    if not isinstance(spec, dict):
        raise status.error(400, "expected a TokenRequest object with spec")
    return spec


def _seconds(value: Any, name: str) -> int:
    if value is None:
        return DEFAULT_SECONDS
    if isinstance(value, bool) or not isinstance(value, int) or not MIN_SECONDS <= value <= MAX_SECONDS:
        message = f"must be a whole number of seconds from {MIN_SECONDS} to {MAX_SECONDS}, got {value!r:.50}"
        kind = KINDS["ServiceAccount"]
        raise status.invalid(kind, name, [("FieldValueInvalid", message, "spec.expirationSeconds")])
    return value


def _token_answer(namespace: str, name: str, spec: Json, token: str, now: int) -> Json:
    expires = strategy.timestamp(datetime.fromtimestamp(now + spec["expirationSeconds"], UTC))
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
        "status": {"token": token, "expirationTimestamp": expires},
    }


def token_review(authenticator: Authenticator, request: Any) -> Json:
    """Answer a TokenReview (authentication.k8s.io/v1)."""
    spec = request.get("spec") if isinstance(request, dict) else None
    if not isinstance(spec, dict) or not isinstance(spec.get("token"), str) or not spec["token"]:
        raise status.error(400, "expected a TokenReview object with spec.token")
    audiences = spec.get("audiences") or []
    if not isinstance(audiences, list) or not all(isinstance(a, str) for a in audiences):
        raise status.error(400, f"spec.audiences is a list of texts, got {audiences!r:.200}")
    found = authenticator.review(spec["token"], tuple(audiences))
    if found is None:
        answer: Json = {"user": {}, "error": "the token is not valid for these audiences"}
    else:
        user, shared = found
        answer = {"authenticated": True, "user": user.info(), "audiences": shared}
    return {
        "kind": "TokenReview",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {},
        "spec": {**spec, "token": ""},
        "status": answer,
    }


def self_review(user: User) -> Json:
    """Answer a SelfSubjectReview (authentication.k8s.io/v1)."""
    return {
        "kind": "SelfSubjectReview",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {},
        "status": {"userInfo": user.info()},
    }


def access_review(user: User, request: Any) -> Json:
    """Answer a SelfSubjectAccessReview (authorization.k8s.io/v1): the administrator may do all that is served."""
    if not isinstance(request, dict) or not isinstance(request.get("spec"), dict):
        raise status.error(400, "expected a SelfSubjectAccessReview object with spec")
    answer: Json = {"allowed": user.is_admin}
    if not user.is_admin:
        answer["reason"] = "tokens of ServiceAccounts may only review themselves here"
    return {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": request["spec"],
        "status": answer,
    }
