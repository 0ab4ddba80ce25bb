"""Owners: of objects (garbage collection) and, in what a request says twice, of nothing."""

import pytest

from tidegate.store.model import StoreError


def maps(ns, name=""):
    return f"/api/v1/namespaces/{ns}/configmaps" + (f"/{name}" if name else "")


def owned_by(*owners):
    found = [
        {"apiVersion": o["apiVersion"], "kind": o["kind"], "name": o["metadata"]["name"], "uid": o["metadata"]["uid"]}
        for o in owners
    ]
    return {"metadata": {"ownerReferences": found}}


@pytest.fixture
def gone(api, eventually):
    async def check(ns, name):
        async def absent():
            return (await api.request("GET", maps(ns, name))).code == 404

        return await eventually(absent)

    return check


async def test_dependents_go_with_their_owner(api, ns, config_map, gone):
    owner = await api.create(config_map(ns, "owner"))
    child = await api.create(config_map(ns, "child", **owned_by(owner)))
    await api.create(config_map(ns, "grandchild", **owned_by(child)))
    await api.create(config_map(ns, "other"))
    await api.delete("ConfigMap", ns, "owner")
    assert await gone(ns, "child") and await gone(ns, "grandchild")
    assert await api.get("ConfigMap", ns, "other")


async def test_dependents_stay_while_an_owner_does(api, ns, config_map, gone, eventually):
    one, two = await api.create(config_map(ns, "one")), await api.create(config_map(ns, "two"))
    await api.create(config_map(ns, "child", **owned_by(one, two)))
    await api.delete("ConfigMap", ns, "one")

    async def released():
        references = (await api.get("ConfigMap", ns, "child"))["metadata"].get("ownerReferences", [])
        return [r["name"] for r in references] == ["two"]

    assert await eventually(released)
    await api.delete("ConfigMap", ns, "two")
    assert await gone(ns, "child")


async def test_orphans_stay(api, ns, config_map, eventually):
    owner = await api.create(config_map(ns, "owner"))
    await api.create(config_map(ns, "child", **owned_by(owner)))
    answer = await api.request("DELETE", maps(ns, "owner"), {"propagationPolicy": "Orphan"})
    assert answer.code == 200

    async def released():
        return "ownerReferences" not in (await api.get("ConfigMap", ns, "child"))["metadata"]

    assert await eventually(released)


async def test_an_object_of_an_owner_that_is_gone_is_collected(api, ns, config_map, gone):
    owner = await api.create(config_map(ns, "owner"))
    await api.delete("ConfigMap", ns, "owner")
    await api.create(config_map(ns, "late", **owned_by(owner)))
    assert await gone(ns, "late")


BODY = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"1","k":"2"}}'


async def test_duplicate_keys(api, ns):
    strict = await api.request("POST", maps(ns), BODY, query={"fieldValidation": "Strict"})
    assert strict.code == 400 and "duplicate field" in strict.json()["message"]
    warned = await api.request("POST", maps(ns), BODY, query={"fieldValidation": "Warn"})
    assert warned.code == 201 and warned.json()["data"] == {"k": "2"}
    assert any("duplicate field" in w for w in warned.warnings), warned.warnings
    patch = b'{"data":{"j":"1","j":"2"}}'
    headers = {"Content-Type": "application/merge-patch+json"}
    refused = await api.request("PATCH", maps(ns, "a"), patch, query={"fieldValidation": "Strict"}, headers=headers)
    assert "duplicate field" in refused.json()["message"]


async def test_duplicate_keys_in_yaml(api, ns):
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: b, namespace: {ns}}}\ndata:\n  k: '1'\n  k: '2'\n"
    headers = {"Content-Type": "application/yaml"}
    query = {"fieldValidation": "Strict"}
    strict = await api.request("POST", maps(ns), text.encode(), query=query, headers=headers)
    assert strict.code == 400


async def test_the_user_agent_names_a_writer_without_a_name(api, ns, config_map):
    made = await api.create(config_map(ns))
    assert [e["manager"] for e in made["metadata"]["managedFields"]] == ["tidegate"]
    long = await api.request("PUT", maps(ns, "a"), made, query={"fieldManager": "x" * 129})
    assert long.code in (400, 422)


async def test_chunks_tell_how_many_remain(api, ns, config_map):
    for name in ("a", "b", "c", "d"):
        await api.create(config_map(ns, name))
    page = (await api.request("GET", maps(ns), query={"limit": "2"})).json()["metadata"]
    total = len((await api.list("ConfigMap", ns)).items)
    assert page["remainingItemCount"] == total - 2
    rest = (await api.request("GET", maps(ns), query={"limit": "2", "continue": page["continue"]})).json()
    assert rest["metadata"].get("remainingItemCount", 0) == total - 4


async def test_managed_fields_can_be_dropped_only_by_hand(api, ns, config_map):
    made = await api.create(config_map(ns))
    del made["metadata"]["managedFields"]
    again = await api.update({**made, "data": {"k": "w"}})
    assert again["metadata"]["managedFields"]
    with pytest.raises(StoreError) as caught:
        await api.patch("ConfigMap", ns, "a", again, content_type="application/apply-patch+yaml")
    assert caught.value.code in (400, 422)
