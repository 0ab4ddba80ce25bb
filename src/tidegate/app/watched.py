"""Files that a process reads again when they change."""

from collections.abc import Iterable
from pathlib import Path

Stamp = tuple[tuple[int, int, int], ...]


class Watched:
    """Some files, and how they were when they were last looked at.

    A mounted ConfigMap or Secret changes by a link that leads elsewhere: what the link leads to is looked at.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        """Raises OSError for a file that is not there."""
        self._files = tuple(files)
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether they are others than at the last look. Raises OSError, and then the next look is at a change."""
        try:
            found = self._look()
        except OSError:
            self._seen = ()
            raise
        before, self._seen = self._seen, found
        return found != before

    def _look(self) -> Stamp:
        found = (each.stat() for each in self._files)
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in found)
