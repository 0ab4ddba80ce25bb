import pytest

from tidegate.store import bodies
from tidegate.store.model import StoreError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"a":1,"b":[{"c":1}]}', ()),
        (b'{"a":1,"a":2}', ("a",)),
        (b'{"spec":{"ports":[{"n":1,"n":1,"n":1}],"x":{},"x":{}}}', ("spec.x", "spec.ports[0].n")),
        (b"a: 1\nb:\n- c: 1\n  c: 2\na: 3\n", ("b[0].c", "a")),
        (b"a: 1\nb: [x, y]\n", ()),
        (b"{not json", ()),
        (b"[" * 100_000, ()),
        (b"a: [", ()),
        (b"", ()),
    ],
)
def test_duplicates(text, found):
    assert bodies.duplicates(text) == found


def test_only_the_first_duplicates_are_told():
    text = b"{" + b",".join(b'"k%d":1,"k%d":2' % (n, n) for n in range(500)) + b"}"
    assert len(bodies.duplicates(text)) == 50


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "- " * 100_000, "{a: " * 100_000, "a:\n  " + "? " * 100_000, '{"a":' * 100_000]
)
def test_bodies_nested_too_deep_are_refused_and_soon(text):
    with pytest.raises(StoreError, match="200 levels deep"):
        bodies.parse_yaml(text.encode())
