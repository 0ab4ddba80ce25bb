"""Where the pages have their content from; who composes the console says how each is asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sources:
    """Each call blocks, within a time of its own, and raises TidegateError in words for the user."""

    proxy_names: Callable[[], Sequence[str]]
    """``name.namespace`` of every proxy of this machine."""
    plane: Callable[[str], bytes]
    """GET a path of the control plane's debug port."""
    envoy: Callable[[str, str], bytes]
    """GET a path of the Envoy admin port of a proxy, ``name.namespace``."""
