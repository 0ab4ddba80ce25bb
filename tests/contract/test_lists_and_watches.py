"""Lists, selectors, chunks, watches."""

import asyncio

import pytest

from tidegate.store.model import Expired, StoreError


def path(ns):
    return f"/api/v1/namespaces/{ns}/configmaps"


async def names(api, ns, **query):
    answer = await api.request("GET", path(ns), query={"labelSelector": "t", **query})
    assert answer.code == 200, answer.body
    return [o["metadata"]["name"] for o in answer.json()["items"]]


async def make(api, config_map, ns, **labels):
    for name, more in labels.items():
        await api.create(config_map(ns, name, metadata={"labels": {"t": "1", **more}}))


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("t,app=x", ["a"]),
        ("t,app==x", ["a"]),
        ("t,app!=x", ["b", "c"]),
        ("t,app in (x,y)", ["a", "b"]),
        ("t,app notin (x)", ["b", "c"]),
        ("t,!app", ["c"]),
        ("t,app", ["a", "b"]),
        ("t,example.com/k=", ["b"]),
    ],
)
async def test_label_selectors(api, ns, config_map, selector, expected):
    await make(api, config_map, ns, a={"app": "x"}, b={"app": "y", "example.com/k": ""}, c={})
    assert await names(api, ns, labelSelector=selector) == expected


@pytest.mark.parametrize("query", [{"labelSelector": "a b"}, {"fieldSelector": "data.k=v"}, {"continue": "%%%"}])
async def test_unreadable_parameters(api, ns, query):
    answer = await api.request("GET", path(ns), query=query)
    assert answer.code == 400 and answer.json()["kind"] == "Status"


async def test_field_selectors(api, ns, config_map):
    await make(api, config_map, ns, a={}, b={})
    assert await names(api, ns, fieldSelector="metadata.name=b") == ["b"]
    assert await names(api, ns, fieldSelector="metadata.name!=b") == ["a"]


async def test_list_over_all_namespaces(api, ns, config_map):
    await make(api, config_map, ns, a={"only": ns})
    listing = await api.list("ConfigMap", label_selector=f"only={ns}")
    assert [o["metadata"]["namespace"] for o in listing.items] == [ns]
    assert listing.items[0]["kind"] == "ConfigMap"


async def test_chunks_show_one_moment(api, ns, config_map):
    await make(api, config_map, ns, b={}, d={}, f={})
    query = {"labelSelector": "t", "limit": "2"}
    first = (await api.request("GET", path(ns), query=query)).json()
    assert [o["metadata"]["name"] for o in first["items"]] == ["b", "d"]
    await make(api, config_map, ns, e={})
    await api.delete("ConfigMap", ns, "f")
    query["continue"] = first["metadata"]["continue"]
    second = (await api.request("GET", path(ns), query=query)).json()
    assert [o["metadata"]["name"] for o in second["items"]] == ["f"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert not second["metadata"].get("continue")
    assert await names(api, ns) == ["b", "d", "e"]


async def test_client_lists_in_chunks(api, ns, config_map, monkeypatch):
    monkeypatch.setattr("tidegate.store.client._LIST_CHUNK", 2)
    await make(api, config_map, ns, **{name: {} for name in "abcde"})
    listing = await api.list("ConfigMap", ns, label_selector="t")
    assert [o["metadata"]["name"] for o in listing.items] == list("abcde")


async def test_watch_tells_what_happens(api, ns, config_map, take):
    start = (await api.list("ConfigMap", ns)).resource_version
    made = await api.create(config_map(ns))
    changed = await api.update({**made, "data": {"k": "2"}})
    await api.delete("ConfigMap", ns, "a")
    events = await take(api.watch("ConfigMap", start, ns), 3)
    assert [(e.type, e.object["metadata"]["name"]) for e in events] == [
        ("ADDED", "a"),
        ("MODIFIED", "a"),
        ("DELETED", "a"),
    ]
    assert events[0].object["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    gone = int(events[2].object["metadata"]["resourceVersion"])
    assert gone > int(changed["metadata"]["resourceVersion"])


async def test_watch_resumes_after_a_version(api, ns, config_map, take):
    made = await api.create(config_map(ns))
    await api.create(config_map(ns, "b"))
    events = await take(api.watch("ConfigMap", made["metadata"]["resourceVersion"], ns), 1)
    assert events[0].object["metadata"]["name"] == "b"


async def test_live_events_reach_a_waiting_watch(api, ns, config_map, take):
    start = (await api.list("ConfigMap", ns)).resource_version
    waiting = asyncio.create_task(take(api.watch("ConfigMap", start, ns), 1))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await api.create(config_map(ns))
    assert (await waiting)[0].object["metadata"]["name"] == "a"


async def test_watch_with_a_selector_sees_objects_come_and_go(api, ns, config_map, watched):
    start = (await api.list("ConfigMap", ns)).resource_version
    kind = "application/merge-patch+json"
    await api.create(config_map(ns))
    for value in ("x", "x2", "y"):
        labels = {"app": value[0], "n": value}
        await api.patch("ConfigMap", ns, "a", {"metadata": {"labels": labels}}, content_type=kind)
    events = await watched(path(ns), 1, resourceVersion=start, labelSelector="app=x")
    assert [e["type"] for e in events] == ["ADDED", "MODIFIED", "DELETED"]


async def test_watch_without_a_version_begins_with_what_is_there(api, ns, config_map, watched):
    await make(api, config_map, ns, a={}, b={})
    events = await watched(path(ns), 1, labelSelector="t")
    assert [(e["type"], e["object"]["metadata"]["name"]) for e in events] == [("ADDED", "a"), ("ADDED", "b")]


async def test_initial_events_end_with_a_marked_bookmark(api, ns, config_map, watched):
    await make(api, config_map, ns, a={})
    query = {
        "sendInitialEvents": "true",
        "allowWatchBookmarks": "true",
        "resourceVersionMatch": "NotOlderThan",
        "labelSelector": "t",
    }
    events = await watched(path(ns), 2, **query)
    assert [e["type"] for e in events[:2]] == ["ADDED", "BOOKMARK"]
    assert events[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_bookmarks_only_when_asked_for(api, ns, config_map, watched):
    """Of a server that has just begun, bookmarks come once there are newer versions than that of its first list."""
    start = (await api.create(config_map(ns)))["metadata"]["resourceVersion"]
    query = {"resourceVersion": start, "labelSelector": "none=such"}

    async def change() -> None:
        await asyncio.sleep(0.5)
        await api.create(config_map(ns, "b"))

    events, _ = await asyncio.gather(watched(path(ns), 5, allowWatchBookmarks="true", **query), change())
    assert events and {e["type"] for e in events} == {"BOOKMARK"}
    assert int(events[-1]["object"]["metadata"]["resourceVersion"]) > int(start)
    assert events[-1]["object"]["kind"] == "ConfigMap"
    assert await watched(path(ns), 1, **query) == []


async def test_compacted_versions_are_expired(backend, api, ns, config_map, watched, take):
    if not backend.embedded:
        pytest.skip("a real API server compacts after minutes")
    start = (await api.create(config_map(ns)))["metadata"]["resourceVersion"]
    kind = "application/merge-patch+json"
    for n in range(600):
        await api.patch("ConfigMap", ns, "a", {"data": {"n": str(n)}}, content_type=kind)
    events = await watched(path(ns), 5, resourceVersion=start)
    assert [(e["type"], e["object"]["code"], e["object"]["reason"]) for e in events] == [("ERROR", 410, "Expired")]
    with pytest.raises(Expired):
        await take(api.watch("ConfigMap", start, ns), 1)
    recent = (await api.list("ConfigMap", ns)).resource_version
    assert await watched(path(ns), 1, resourceVersion=recent) == []


async def test_versions_from_the_future(api, ns):
    answer = await api.request("GET", path(ns), query={"resourceVersion": "999999999"})
    assert answer.code == 504
    assert answer.json()["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_expired_lists(backend, api, ns, config_map):
    if not backend.embedded:
        pytest.skip("a real API server compacts after minutes")
    await make(api, config_map, ns, a={}, b={})
    first = (await api.request("GET", path(ns), query={"limit": "1"})).json()
    for n in range(600):
        await api.patch("ConfigMap", ns, "a", {"data": {"n": str(n)}}, content_type="application/merge-patch+json")
    answer = await api.request("GET", path(ns), query={"limit": "1", "continue": first["metadata"]["continue"]})
    assert (answer.code, answer.json()["reason"]) == (410, "Expired")


async def test_names_that_lead_elsewhere_are_refused(api, ns):
    with pytest.raises(StoreError):
        await api.get("ConfigMap", ns, "../secrets")
