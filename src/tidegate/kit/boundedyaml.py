"""PyYAML's loader in C with a bound on how deep values lie in each other."""

from typing import Any

import yaml

DEEPEST = 200
"""Levels; what Kubernetes and Envoy have stays far below."""


class BoundedLoader(yaml.CSafeLoader):
    """The loader in C follows nested values on its stack: without a bound, deep text ends the whole process."""

    _depth = 0

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        """Called by the composer before each value within ``current_node``."""
        self._depth += 1
        if self._depth > DEEPEST:
            mark = current_node.start_mark if current_node is not None else None
            raise yaml.composer.ComposerError(None, None, f"values must lie at most {DEEPEST} levels deep", mark)

    def ascend_resolver(self) -> None:
        """Called by the composer after each value."""
        self._depth -= 1


def load(text: str | bytes) -> Any:
    """The one document of ``text``, as plain values. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=BoundedLoader)  # noqa: S506 -- a safe loader, bounded


def load_all(text: str) -> list[Any]:
    """All documents of ``text``. Raises yaml.YAMLError."""
    return list(yaml.load_all(text, Loader=BoundedLoader))
