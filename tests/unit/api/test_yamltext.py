"""YAML as plain values: what the loader of its own would make of it."""

import pytest
import yaml

from tidegate.api.yamltext import YamlError, read_node, read_yaml


@pytest.mark.parametrize(
    "text",
    [
        "{a: 1, b: 1.5, c: true, d: null, e: ~, 1: x, true: y}",
        "x: &a {p: 1}\ny: {<<: *a, q: 2}\nz: [*a, *a]",
        "[0x1f, 010, 1e3, .inf, 'y', '', 1_000]",
        "a: !!str 5\nb: !!int '7'\nc: |\n  text\n  more\n",
        "[[], {}, [{}], {a: []}]",
    ],
)
def test_values_are_those_of_the_safe_loader(text: str) -> None:
    assert repr(read_yaml(text)) == repr(yaml.safe_load(text))


def test_timestamps_are_text() -> None:
    assert read_yaml("at: 2020-01-01") == {"at": "2020-01-01"}


@pytest.mark.parametrize("text", ["a: 1\na: 2", "a: !!python/none x", "[x]: y", "a: !!int x", "a: &b [*b]"])
def test_what_is_not_plain_is_refused(text: str) -> None:
    with pytest.raises(YamlError):
        read_node(text)
