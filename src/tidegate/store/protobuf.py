"""Reading Kubernetes' protobuf bodies (``application/vnd.kubernetes.protobuf``) of a few kinds.

Typed clients, ``kubectl create`` among them, send these without being asked and know no way back to JSON. Answers are
always JSON, which they accept. Field numbers are those of k8s.io/api's generated.proto files; a field that is not
listed here is refused rather than lost.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from tidegate.store import status
from tidegate.store.model import Json

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

_MAGIC = b"k8s\x00"

Raw = int | bytes
Reader = Callable[[Raw], Any]


class Field(msgspec.Struct, frozen=True):
    name: str
    read: Reader
    shape: str = "one"
    """"one", "list", "map" or, where absent and empty differ, "pointer"."""


Message = Mapping[int, Field]


def _text(raw: Raw) -> str:
    return _octets(raw).decode()


def _base64(raw: Raw) -> str:
    return base64.b64encode(_octets(raw)).decode()


def _octets(raw: Raw) -> bytes:
    if not isinstance(raw, bytes):
        raise ValueError("expected a length-delimited field")
    return raw


def _number(raw: Raw) -> int:
    if not isinstance(raw, int):
        raise ValueError("expected a number")
    return raw - (1 << 64) if raw >= 1 << 63 else raw


def _flag(raw: Raw) -> bool:
    return bool(_number(raw))


def _message(fields: Message) -> Reader:
    return lambda raw: read_message(_octets(raw), fields)


def _int_or_string(raw: Raw) -> int | str:
    """intstr.IntOrString: type 0 is the number, type 1 the text."""
    found = read_message(_octets(raw), {1: Field("type", _number), 2: Field("int", _number), 3: Field("str", _text)})
    return str(found.get("str", "")) if found.get("type") else int(found.get("int", 0))


def _ignored(raw: Raw) -> None:
    """What the server sets itself."""


def _one(name: str, read: Reader = _text) -> Field:
    return Field(name, read)


def _pointer(name: str, read: Reader) -> Field:
    return Field(name, read, "pointer")


def _many(name: str, read: Reader = _text) -> Field:
    return Field(name, read, "list")


def _map(name: str, read: Reader = _text) -> Field:
    return Field(name, read, "map")


_OWNER: Message = {
    1: _one("kind"),
    3: _one("name"),
    4: _one("uid"),
    5: _one("apiVersion"),
    6: _one("controller", _flag),
    7: _one("blockOwnerDeletion", _flag),
}
_META: Message = {
    1: _one("name"),
    2: _one("generateName"),
    3: _one("namespace"),
    4: _one("selfLink", _ignored),
    5: _one("uid"),
    6: _one("resourceVersion"),
    7: _one("generation", _ignored),
    8: _one("creationTimestamp", _ignored),
    9: _one("deletionTimestamp", _ignored),
    10: _one("deletionGracePeriodSeconds", _ignored),
    11: _map("labels"),
    12: _map("annotations"),
    13: _many("ownerReferences", _message(_OWNER)),
    14: _many("finalizers"),
    17: _one("managedFields", _ignored),
}
_REFERENCE: Message = {
    1: _one("kind"),
    2: _one("namespace"),
    3: _one("name"),
    4: _one("uid"),
    5: _one("apiVersion"),
    6: _one("resourceVersion"),
    7: _one("fieldPath"),
}
_PORT: Message = {
    1: _one("name"),
    2: _one("protocol"),
    3: _one("port", _number),
    4: _one("targetPort", _int_or_string),
    5: _one("nodePort", _number),
    6: _one("appProtocol"),
}
_SERVICE: Message = {
    1: _many("ports", _message(_PORT)),
    2: _map("selector"),
    3: _one("clusterIP"),
    4: _one("type"),
    5: _many("externalIPs"),
    7: _one("sessionAffinity"),
    8: _one("loadBalancerIP"),
    9: _many("loadBalancerSourceRanges"),
    10: _one("externalName"),
    11: _one("externalTrafficPolicy"),
    12: _one("healthCheckNodePort", _number),
    13: _one("publishNotReadyAddresses", _flag),
    17: _one("ipFamilyPolicy"),
    18: _many("clusterIPs"),
    19: _many("ipFamilies"),
    20: _one("allocateLoadBalancerNodePorts", _flag),
    21: _one("loadBalancerClass"),
    22: _one("internalTrafficPolicy"),
    23: _one("trafficDistribution"),
}
_CONTAINER_PORT: Message = {
    1: _one("name"),
    2: _one("hostPort", _number),
    3: _one("containerPort", _number),
    4: _one("protocol"),
    5: _one("hostIP"),
}
_CONTAINER: Message = {
    1: _one("name"),
    2: _one("image"),
    3: _many("command"),
    4: _many("args"),
    5: _one("workingDir"),
    6: _many("ports", _message(_CONTAINER_PORT)),
    7: _many("env", _message({1: _one("name"), 2: _one("value")})),
    8: _one("resources", _message({})),
    13: _one("terminationMessagePath"),
    14: _one("imagePullPolicy"),
    16: _one("stdin", _flag),
    17: _one("stdinOnce", _flag),
    18: _one("tty", _flag),
    20: _one("terminationMessagePolicy"),
}
_POD: Message = {
    2: _many("containers", _message(_CONTAINER)),
    3: _one("restartPolicy"),
    4: _pointer("terminationGracePeriodSeconds", _number),
    6: _one("dnsPolicy"),
    8: _one("serviceAccountName"),
    9: _one("serviceAccount"),
    10: _one("nodeName"),
    11: _one("hostNetwork", _flag),
    12: _one("hostPID", _flag),
    13: _one("hostIPC", _flag),
    14: _one("securityContext", _message({})),
    16: _one("hostname"),
    17: _one("subdomain"),
    19: _one("schedulerName"),
    24: _one("priorityClassName"),
}
_REQUIREMENT: Message = {1: _one("key"), 2: _one("operator"), 3: _many("values")}
_SELECTOR: Message = {1: _map("matchLabels"), 2: _many("matchExpressions", _message(_REQUIREMENT))}
_ROLLING_UPDATE: Message = {1: _one("maxUnavailable", _int_or_string), 2: _one("maxSurge", _int_or_string)}
_DEPLOYMENT: Message = {
    1: _pointer("replicas", _number),
    2: _one("selector", _message(_SELECTOR)),
    3: _one("template", _message({1: _one("metadata", _message(_META)), 2: _one("spec", _message(_POD))})),
    4: _one("strategy", _message({1: _one("type"), 2: _one("rollingUpdate", _message(_ROLLING_UPDATE))})),
    5: _one("minReadySeconds", _number),
    6: _pointer("revisionHistoryLimit", _number),
    7: _one("paused", _flag),
    9: _pointer("progressDeadlineSeconds", _number),
}
_BOUND: Message = {1: _one("kind"), 2: _one("apiVersion"), 3: _one("name"), 4: _one("uid")}
_TOKEN: Message = {
    1: _many("audiences"),
    3: _one("boundObjectRef", _message(_BOUND)),
    4: _one("expirationSeconds", _number),
}
_RESOURCE: Message = {
    1: _one("namespace"),
    2: _one("verb"),
    3: _one("group"),
    4: _one("version"),
    5: _one("resource"),
    6: _one("subresource"),
    7: _one("name"),
}
_ACCESS: Message = {
    1: _one("resourceAttributes", _message(_RESOURCE)),
    2: _one("nonResourceAttributes", _message({1: _one("path"), 2: _one("verb")})),
}
_META_FIELD = _one("metadata", _message(_META))
_STATUS_FIELD = _one("status", _ignored)

_KINDS: dict[tuple[str, str], Message] = {
    ("apps/v1", "Deployment"): {1: _META_FIELD, 2: _one("spec", _message(_DEPLOYMENT)), 3: _STATUS_FIELD},
    ("v1", "Pod"): {1: _META_FIELD, 2: _one("spec", _message(_POD)), 3: _STATUS_FIELD},
    ("v1", "ConfigMap"): {
        1: _META_FIELD,
        2: _map("data"),
        3: _map("binaryData", _base64),
        4: _one("immutable", _flag),
    },
    ("v1", "Secret"): {
        1: _META_FIELD,
        2: _map("data", _base64),
        3: _one("type"),
        4: _map("stringData"),
        5: _one("immutable", _flag),
    },
    ("v1", "Namespace"): {1: _META_FIELD, 2: _one("spec", _message({1: _many("finalizers")})), 3: _STATUS_FIELD},
    ("v1", "ServiceAccount"): {
        1: _META_FIELD,
        2: _many("secrets", _message(_REFERENCE)),
        3: _many("imagePullSecrets", _message({1: _one("name")})),
        4: _one("automountServiceAccountToken", _flag),
    },
    ("v1", "Service"): {1: _META_FIELD, 2: _one("spec", _message(_SERVICE)), 3: _STATUS_FIELD},
    ("authentication.k8s.io/v1", "TokenRequest"): {
        1: _META_FIELD,
        2: _one("spec", _message(_TOKEN)),
        3: _STATUS_FIELD,
    },
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"): {
        1: _META_FIELD,
        2: _one("spec", _message(_ACCESS)),
        3: _STATUS_FIELD,
    },
    ("authentication.k8s.io/v1", "SelfSubjectReview"): {1: _META_FIELD, 2: _STATUS_FIELD},
}


def decode(data: bytes) -> Json:
    """The object of a protobuf body; 415 for a kind or field that is not read, 400 for bytes that are no message."""
    if not data.startswith(_MAGIC):
        raise status.error(400, "the body is not in Kubernetes' protobuf form: it does not begin with k8s and a zero")
    type_meta: Message = {1: _one("apiVersion"), 2: _one("kind")}
    envelope: Message = {
        1: _one("typeMeta", _message(type_meta)),
        2: _one("raw", _octets),
        3: _one("contentEncoding"),
        4: _one("contentType"),
    }
    try:
        outer = read_message(data[len(_MAGIC) :], envelope)
        named = outer.get("typeMeta", {})
        fields = _KINDS.get((named.get("apiVersion", ""), named.get("kind", "")))
        if fields is None:
            raise _unread(f"{named.get('kind', 'objects without a kind')} as protobuf")
        return {**named, "metadata": {}, **read_message(outer.get("raw", b""), fields)}
    except (ValueError, IndexError) as error:
        raise status.error(400, f"the protobuf body cannot be read: {error}") from error


def _unread(what: str) -> Exception:
    return status.error(415, f"{what} cannot be read here: send application/json")


def read_message(data: bytes, fields: Message) -> Json:
    """Members that are empty, as Go's encoder writes what is not set, are left out."""
    found: Json = {}
    for number, raw in _wire(data):
        field = fields.get(number)
        if field is None:
            raise _unread(f"protobuf field {number} of an object")
        if field.shape == "map":
            key, value = _pair(_octets(raw), field.read)
            found.setdefault(field.name, {})[key] = value
            continue
        value = field.read(raw)
        if field.shape == "list":
            found.setdefault(field.name, []).append(value)
        elif value not in (None, "", 0, {}) or field.shape == "pointer":
            found[field.name] = value
    return found


def _pair(data: bytes, read: Reader) -> tuple[str, Any]:
    """A map's entry: key 1, value 2, either left out when empty."""
    parts = dict(_wire(data))
    return _text(parts.get(1, b"")), read(parts.get(2, b""))


def _wire(data: bytes) -> Iterator[tuple[int, Raw]]:
    """(field number, value) of each field: protobuf's wire format."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
                yield tag >> 3, value
            case 2:
                size, at = _varint(data, at)
                if at + size > len(data):
                    raise ValueError("a field is longer than its message")
                yield tag >> 3, data[at : at + size]
                at += size
            case wire:
                raise ValueError(f"wire type {wire} is not used by these messages")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number is longer than ten bytes")
