"""Certificates and trusted roots from Secrets and ConfigMaps, as Envoy asks for them by name."""

import base64
import binascii
from collections.abc import Iterable
from typing import Any

from tidegate.api.objects import Object, Ref
from tidegate.envoy import protos, tls
from tidegate.envoy.inputs import CredentialInput
from tidegate.envoy.resource import SECRET, Origin, Resource, resource
from tidegate.snapshot.world import World

CONFIG_MAP = "configmap://"
ROOTS_SUFFIX = "-cacert"

_CHAIN, _KEY = ("tls.crt", "cert"), ("tls.key", "key")
_ROOTS = ("ca.crt", "cacert")
_LISTS = ("ca.crl", "crl")


def of_upstream(credential: str) -> tuple[str, ...]:
    """What a DestinationRule's ``credentialName`` makes a proxy ask for: a client certificate, and roots."""
    return tuple(dict.fromkeys(map(tls.credential_name, (credential, tls.roots_of(credential)))))


def gathered(world: World, names: Iterable[str], namespace: str) -> tuple[CredentialInput, ...]:
    """Those of the names that an object of the proxy's own namespace answers."""
    found = []
    for name in dict.fromkeys(names):
        held = next((h for ref in refs_of(name, namespace) if (h := world.credential(ref)) is not None), None)
        if held is not None:
            found.append(CredentialInput(name=name, held=held))
    return tuple(found)


def refs_of(name: str, namespace: str) -> tuple[Ref, ...]:
    """The objects of ``namespace`` that may answer a name, the first that exists does: roots come from a Secret of
    the very name, else from the one that has the certificate as well. A name of another namespace has none."""
    kind = "ConfigMap" if name.startswith(CONFIG_MAP) else "Secret"
    owner, slash, plain = name.partition("://")[2].rpartition("/")
    if slash and owner != namespace:
        return ()
    found = [Ref(kind, namespace, plain)]
    if kind == "Secret" and plain.endswith(ROOTS_SUFFIX):
        found.append(Ref(kind, namespace, plain.removesuffix(ROOTS_SUFFIX)))
    return tuple(found)


def build(given: CredentialInput) -> Resource | None:
    """The Secret resource; None where the object has not what the name asks for."""
    wants_roots = given.name.startswith(CONFIG_MAP) or given.name.endswith(ROOTS_SUFFIX)
    message = protos.Secret(name=given.name)
    filled = _put_roots(message, given.held) if wants_roots else _put_pair(message, given.held)
    return resource(given.name, SECRET, message, (Origin("", given.held.ref, "data"),)) if filled else None


def _put_pair(message: Any, held: Object[Any]) -> bool:
    chain, key = _value(held, _CHAIN), _value(held, _KEY)
    if not (chain and key):
        return False
    message.tls_certificate.certificate_chain.inline_bytes = chain
    message.tls_certificate.private_key.inline_bytes = key
    return True


def _put_roots(message: Any, held: Object[Any]) -> bool:
    roots, revoked = _value(held, _ROOTS), _value(held, _LISTS)
    if not roots:
        return False
    message.validation_context.trusted_ca.inline_bytes = roots
    if revoked:
        message.validation_context.crl.inline_bytes = revoked
    return True


def _value(held: Object[Any], names: tuple[str, ...]) -> bytes:
    text = next((held.spec.data[name] for name in names if held.spec.data.get(name)), "")
    if held.ref.kind == "ConfigMap":
        return str(text).encode()
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
