"""Protocol words of Istio's API."""

from tidegate.registry.model import Protocol

_WORDS: dict[str, Protocol] = {p.value.lower(): p for p in Protocol if p.value}


def parse_protocol(word: str) -> Protocol:
    """A protocol by its word, whatever its letter case; AUTO for no word and for an unknown one."""
    return _WORDS.get(word.lower(), Protocol.AUTO)
