import pytest
import yaml

from tidegate.kit.boundedyaml import DEEPEST, BoundedLoader


def load(text):
    return yaml.load(text, Loader=BoundedLoader)


def nested(levels):
    return "[" * levels + "]" * levels


def test_the_deepest_that_is_read():
    value, levels = load(nested(DEEPEST)), 0
    while value:
        value, levels = value[0], levels + 1
    assert levels == DEEPEST - 1


@pytest.mark.parametrize("text", [nested(DEEPEST + 1), "[" * 100_000, "- " * 100_000, "{a: " * 100_000, "? " * 100_000])
def test_deeper_text_is_refused_with_its_place(text):
    with pytest.raises(yaml.YAMLError, match=f"at most {DEEPEST} levels deep") as raised:
        load(text)
    assert raised.value.problem_mark.line == 0


def test_depth_counts_nesting_and_not_length():
    assert len(load("[" + "[[1]], " * 5000 + "]")) == 5000


def test_documents_are_counted_apart():
    text = "\n---\n".join([nested(DEEPEST)] * 3)
    assert len(list(yaml.load_all(text, Loader=BoundedLoader))) == 3
