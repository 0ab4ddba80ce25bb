"""Filter state: texts that filters leave for later ones, made by Envoy's command operators."""

import re
from collections.abc import Iterable

from tidegate.dump.config.network import FilterStateValue
from tidegate.explain.walk import Walk

_OPERATOR = re.compile(r"%([A-Z_]+)(?:\([^)]*\))?(?::\d+)?%")
_OFFERED = "envoy.network.application_protocols"
"""What upstream TLS offers instead of the cluster's own list. It chooses neither a route nor an endpoint, nor the codec
of a cluster that names its protocol, so that not knowing it leaves nothing undecided."""


def set_state(walk: Walk, values: Iterable[FilterStateValue], where: str) -> Walk:
    """The walk with the values set that can be told; the others are noted."""
    state = dict(walk.state)
    for value in values:
        text, missing = formatted(walk, value.format_string.text)
        if missing and value.object_key == _OFFERED:
            continue
        if missing:
            walk.unsure(where, f"filter state {value.object_key} is made of {', '.join(missing)}, not known here")
        elif text or not value.skip_if_empty:
            state[value.object_key] = text
    return walk.with_(state=state)


def formatted(walk: Walk, text: str) -> tuple[str, list[str]]:
    """A text with its operators replaced, and those that need what is not known here."""
    known, missing = _known(walk), list[str]()

    def put(found: re.Match[str]) -> str:
        value = known.get(found[1])
        if value is None:
            missing.append(found[0])
        return value or ""

    return _OPERATOR.sub(put, text), missing


def _known(walk: Walk) -> dict[str, str | None]:
    tls = walk.connection.tls
    address = f"[{walk.ip}]:{walk.port}" if ":" in walk.ip else f"{walk.ip}:{walk.port}"
    return {
        "REQUESTED_SERVER_NAME": walk.sni or (tls.sni if tls and walk.ended_tls else ""),
        "DOWNSTREAM_LOCAL_ADDRESS": address,
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": walk.ip,
        "DOWNSTREAM_LOCAL_PORT": str(walk.port),
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": walk.connection.source_ip or None,
        "DOWNSTREAM_PEER_URI_SAN": walk.principal,
    }
