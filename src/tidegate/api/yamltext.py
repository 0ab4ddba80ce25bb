"""Reading bounded YAML from users as Kubernetes' YAML reader does: plain JSON types, no duplicate keys."""

from typing import Any

import yaml

from tidegate.kit.boundedyaml import BoundedLoader
from tidegate.kit.errors import FieldError

SIZE_LIMIT = 1024 * 1024
_NODE_LIMIT = 100_000
_DEPTH_LIMIT = 64
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge")
)
_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_DROPPED = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")


class YamlError(Exception):
    """Text that is not the YAML expected; ``errors`` tell where and why."""

    def __init__(self, *errors: FieldError) -> None:
        self.errors = errors
        super().__init__("; ".join(str(e) for e in errors))


class _Loader(BoundedLoader):
    """Without timestamps, which JSON has not."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _DROPPED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(text: str) -> Any:
    """The one document of ``text``; None when it is empty. Raises YamlError."""
    if len(text) > SIZE_LIMIT:
        raise YamlError(FieldError("", f"must be at most {SIZE_LIMIT} characters", len(text)))
    found = read_node(text)
    return found[0] if found is not None else None


def read_node(text: str, most: int = _NODE_LIMIT) -> tuple[Any, yaml.Node] | None:
    """The one document of ``text`` and the node, with its marks, that it was made from. Raises YamlError.

    ``most`` bounds its values, those of aliases counted wherever they are used.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check(node, most)
            return _value(loader, node), node
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise YamlError(FieldError(_place(error.problem_mark), error.problem or "must be YAML")) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise YamlError(FieldError("", f"must be YAML: {str(error)[:200]}")) from error


def _value(loader: _Loader, node: yaml.Node) -> Any:
    """What ``construct_document`` gives for a node that passed :func:`_check`, in a quarter of its time."""
    if isinstance(node, yaml.MappingNode):
        if any(key.tag == _MERGE for key, _ in node.value):
            return loader.construct_object(node, deep=True)
        return {_value(loader, key): _value(loader, value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, each) for each in node.value]
    return node.value if node.tag == _TEXT else loader.construct_object(node)


def _place(mark: Any) -> str:
    return f"line {mark.line + 1} column {mark.column + 1}" if mark is not None else ""


def _check(root: yaml.Node, most: int) -> None:
    """Bound depth and size (with aliases written out), and refuse duplicate keys and tags JSON has not."""
    count = 0
    waiting: list[tuple[yaml.Node, int]] = [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if count > most or depth > _DEPTH_LIMIT:
            limit = f"{most} values, {_DEPTH_LIMIT} levels deep"
            raise YamlError(FieldError(_place(node.start_mark), f"must have at most {limit}, aliases written out"))
        if node.tag not in _TAGS:
            raise YamlError(FieldError(_place(node.start_mark), "must be a plain value", node.tag))
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            waiting += [(value, depth + 1) for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(value, depth + 1) for value in node.value]


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag not in _TAGS:
            raise YamlError(FieldError(_place(key.start_mark), "keys must be text"))
        if key.value in seen:
            raise YamlError(FieldError(_place(key.start_mark), "key is given twice", key.value[:120]))
        seen.add(key.value)
