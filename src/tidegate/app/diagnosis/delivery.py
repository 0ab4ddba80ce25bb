"""Secrets that manifests name and do not hold: people keep them elsewhere, so that none of them counts as missing."""

from collections.abc import Iterable
from typing import Any

import msgspec

from tidegate.answer.report import Report
from tidegate.app.offline.compile import Compiled
from tidegate.dump.read import SECRETS

_KEYS = ("certificates", "roots")
"""Of what is told of a TLS context: names of secrets."""


def without_secrets(compiled: Compiled) -> bool:
    """Whether there is no Secret with a certificate in the world."""
    return not any(ref.kind == "Secret" for ref in compiled.world.objects)


def delivered(dump: dict[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """The dump as if every secret had come, and the names of those that have not."""
    awaited = (each for part in dump["configs"] if part["@type"] == SECRETS for each in part["dynamicWarmingSecrets"])
    names = frozenset(each["name"] for each in awaited)
    return {**dump, "configs": [part for part in dump["configs"] if part["@type"] != SECRETS]}, names


def assuming(found: Report, taken: frozenset[str]) -> Report:
    """The answer, which tells the secrets on its way that are only taken to be there."""
    told = [f"secret {name} is not among the manifests: taken as delivered" for name in _used(found) if name in taken]
    return msgspec.structs.replace(found, assumed=(*found.assumed, *told)) if told else found


def _used(found: Report) -> Iterable[str]:
    """Names of secrets, each once."""
    contexts = (*(step.facts for step in found.steps), *(end.upstream_tls for end in found.ends))
    return dict.fromkeys(name for each in contexts for key in _KEYS for name in each.get(key, ()))
