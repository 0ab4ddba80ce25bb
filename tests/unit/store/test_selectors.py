import pytest

from tidegate.store import selectors
from tidegate.store.model import StoreError


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a in (b, c)", {"a": "c"}, True),
        ("a in (b,c)", {}, False),
        ("a notin (b,c)", {}, True),
        ("a notin (b)", {"a": "b"}, False),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("a=", {"a": ""}, True),
        ("example.com/a=b, c", {"example.com/a": "b", "c": "1"}, True),
        ("a=b,c=d", {"a": "b"}, False),
        ("in=x", {"in": "x"}, True),
    ],
)
def test_label_selectors(text, labels, matches):
    keep = selectors.predicate("Pod", text, "")
    assert keep is not None
    assert keep({"metadata": {"labels": labels}}) is matches


@pytest.mark.parametrize("text", ["a b", "a=b,", ",", "a in b", "a in (b", "=b", "a=b=c", "a=!", "-a=b"])
def test_label_selectors_that_cannot_be_read(text):
    with pytest.raises(StoreError) as caught:
        selectors.parse_labels(text)
    assert caught.value.code == 400 and repr(text) in str(caught.value)


POD = {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "hostNetwork": True}, "status": {}}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("metadata.name=p", True),
        ("spec.nodeName==n", True),
        ("spec.nodeName!=n", False),
        ("status.phase=", True),
        ("status.phase!=Succeeded,spec.nodeName=n", True),
        ("spec.hostNetwork=true", True),
    ],
)
def test_field_selectors(text, matches):
    keep = selectors.predicate("Pod", "", text)
    assert keep is not None and keep(POD) is matches


@pytest.mark.parametrize("text", ["spec.other=x", "metadata.name", "metadata.name~x"])
def test_field_selectors_that_are_not_supported(text):
    with pytest.raises(StoreError) as caught:
        selectors.parse_fields("Pod", text)
    assert caught.value.code == 400


def test_no_selector_is_no_predicate():
    assert selectors.predicate("Pod", "", "") is None
