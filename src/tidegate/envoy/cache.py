"""Builders run through caches that are keyed by their inputs."""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import ref

from tidegate.envoy.inputs import Input
from tidegate.envoy.resource import Resource

I = TypeVar("I", bound=Input)  # noqa: E741 -- an input

Failed = Callable[[str, Input, Exception], None]
"""Builder's name, its input, what it raised."""

_SMALLEST_SWEEP = 1024


class Builders:
    """Calls builders once for each distinct input.

    A result is kept as long as some view holds it: the input is all that a builder reads, so an entry can never be
    stale, only unused. ``built`` counts true builder calls by name, for tests and benchmarks.
    """

    def __init__(self, failed: Failed | None = None) -> None:
        """``failed`` is told of a builder that raised; its resource is then left out and no other suffers. None: the
        error goes to the caller."""
        self._failed = failed
        self._results: defaultdict[str, dict[Any, ref[Resource]]] = defaultdict(dict)
        self._limits: defaultdict[str, int] = defaultdict(lambda: _SMALLEST_SWEEP)
        self.built: Counter[str] = Counter()

    def get(self, build: Callable[[I], Resource | None], given: I, *, contained: bool = True) -> Resource | None:
        """``contained`` False: an error goes to the caller in any case, who has something better than leaving out."""
        return self.run(f"{build.__module__}.{build.__name__}", build, given, contained=contained)

    def run(
        self, name: str, build: Callable[[I], Resource | None], given: I, *, contained: bool = True
    ) -> Resource | None:
        """As :meth:`get`, for a builder without a name of its own."""
        results = self._results[name]
        held = results.get(given)
        found = held() if held is not None else None
        if found is None:
            self.built[name] += 1
            found = self._contained(name, build, given) if contained else build(given)
            if found is not None:
                results[given] = ref(found)
                if len(results) > self._limits[name]:
                    self._sweep(name)
        return found

    def _contained(self, name: str, build: Callable[[I], Resource | None], given: I) -> Resource | None:
        try:
            return build(given)
        except Exception as error:
            if self._failed is None:
                raise
            self._failed(name, given, error)
            return None

    def remembered(self) -> int:
        """Number of inputs that entries stand for, those of results that are gone among them."""
        return sum(map(len, self._results.values()))

    def sweep(self) -> None:
        """Forget all inputs whose results are gone; for when much is known to have gone."""
        for name in self._results:
            self._sweep(name)

    def _sweep(self, name: str) -> None:
        """Forget inputs whose results are gone. A WeakValueDictionary would do so at once, at a tenth of the time of
        a first configuration."""
        results = self._results[name]
        for given in [given for given, held in results.items() if held() is None]:
            del results[given]
        self._limits[name] = max(_SMALLEST_SWEEP, 2 * len(results))
