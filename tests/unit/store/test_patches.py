import pytest

from tidegate.store import patches
from tidegate.store.model import StoreError


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ],
)
def test_merge(target, patch, expected):
    assert patches.merge(target, patch) == expected


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([{"op": "add", "path": "/b", "value": 1}], {"a": [1, 2], "b": 1}),
        ([{"op": "add", "path": "/a/1", "value": 9}], {"a": [1, 9, 2]}),
        ([{"op": "add", "path": "/a/-", "value": 9}], {"a": [1, 2, 9]}),
        ([{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        ([{"op": "replace", "path": "/a/0", "value": 5}], {"a": [5, 2]}),
        ([{"op": "move", "from": "/a/0", "path": "/x"}], {"a": [2], "x": 1}),
        ([{"op": "copy", "from": "/a", "path": "/x~1y~0"}], {"a": [1, 2], "x/y~": [1, 2]}),
        ([{"op": "test", "path": "/a", "value": [1, 2]}], {"a": [1, 2]}),
    ],
)
def test_json_patch(operations, expected):
    target = {"a": [1, 2]}
    assert patches.json_patch(target, operations) == expected
    assert target == {"a": [1, 2]}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/none"},
        {"op": "replace", "path": "/none", "value": 1},
        {"op": "add", "path": "/a/5", "value": 1},
        {"op": "add", "path": "/a/01", "value": 1},
        {"op": "add", "path": "/a/0/b", "value": 1},
        {"op": "test", "path": "/a/0", "value": True},
        {"op": "frobnicate", "path": "/a"},
        {"op": "add", "path": "a", "value": 1},
        {"path": "/a"},
        {"op": "remove", "path": ""},
        "no operation",
    ],
)
def test_json_patch_that_cannot_be_done(operation):
    with pytest.raises(StoreError) as caught:
        patches.json_patch({"a": [1, 2]}, [operation])
    assert caught.value.code == 422


def test_json_patch_is_a_bounded_list():
    with pytest.raises(StoreError) as caught:
        patches.json_patch({}, {"op": "add"})
    assert caught.value.code == 400
    with pytest.raises(StoreError) as caught:
        patches.json_patch({}, [{"op": "test", "path": "", "value": {}}] * (patches.MAX_OPERATIONS + 1))
    assert caught.value.code == 413


def pod(*containers):
    return {"spec": {"containers": [dict(c) for c in containers]}}


A, B = {"name": "a", "image": "1"}, {"name": "b", "image": "2"}


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"spec": {"containers": [{"name": "b", "image": "3"}]}}, pod(A, {"name": "b", "image": "3"})),
        ({"spec": {"containers": [{"name": "c"}]}}, pod(A, B, {"name": "c"})),
        ({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}, pod(B)),
        ({"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}, pod({"name": "z"})),
        ({"spec": {"$patch": "replace", "nodeName": "n"}}, {"spec": {"nodeName": "n"}}),
        ({"spec": {"$patch": "delete"}}, {}),
        ({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}, pod(B, A)),
        ({"spec": {"$retainKeys": ["nodeName"], "nodeName": "n"}}, {"spec": {"nodeName": "n"}}),
        ({"spec": {"containers": None}}, {"spec": {}}),
    ],
)
def test_strategic_merge(patch, expected):
    assert patches.strategic(pod(A, B), patch, "Pod") == expected


def test_strategic_merge_of_primitive_lists():
    old = {"metadata": {"finalizers": ["a", "b"]}}
    assert patches.strategic(old, {"metadata": {"finalizers": ["c", "a"]}}, "Pod")["metadata"]["finalizers"] == [
        "a",
        "b",
        "c",
    ]
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert patches.strategic(old, patch, "Pod") == {"metadata": {"finalizers": ["b"]}}


def test_strategic_merge_without_a_key_replaces_the_list():
    assert patches.strategic({"x": [1, 2]}, {"x": [3]}, "ConfigMap") == {"x": [3]}


def test_strategic_merge_names_a_missing_merge_key():
    with pytest.raises(StoreError) as caught:
        patches.strategic(pod(A), {"spec": {"containers": [{"image": "x"}]}}, "Pod")
    assert caught.value.code == 400 and "'name'" in str(caught.value)
