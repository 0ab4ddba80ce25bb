"""Create, read, update, status, patches, delete."""

import asyncio

import pytest

from tidegate.store.model import StoreError


async def refused(call, code, reason):
    with pytest.raises(StoreError) as caught:
        await call
    assert (caught.value.code, caught.value.reason) == (code, reason), caught.value
    return caught.value


def resource(ns, plural="configmaps", name=""):
    root = "/api/v1" if plural in ("configmaps", "services", "pods") else "/apis/networking.istio.io/v1"
    return f"{root}/namespaces/{ns}/{plural}" + (f"/{name}" if name else "")


async def test_create_gives_identity(api, ns, config_map):
    made = await api.create(config_map(ns))
    meta = made["metadata"]
    assert meta["uid"] and meta["creationTimestamp"].endswith("Z") and meta["resourceVersion"].isdigit()
    assert await api.get("ConfigMap", ns, "a") == made


async def test_custom_objects_start_at_generation_one(api, ns, service_entry):
    made = await api.create(service_entry(ns))
    assert made["metadata"]["generation"] == 1
    made["spec"]["hosts"] = ["other.example.com"]
    changed = await api.update(made)
    assert changed["metadata"]["generation"] == 2
    changed["metadata"]["labels"] = {"a": "b"}
    assert (await api.update(changed))["metadata"]["generation"] == 2


async def test_same_name_again(api, ns, config_map):
    await api.create(config_map(ns))
    await refused(api.create(config_map(ns)), 409, "AlreadyExists")


async def test_absent_objects_and_namespaces(api, ns, config_map):
    await refused(api.get("ConfigMap", ns, "none"), 404, "NotFound")
    await refused(api.delete("ConfigMap", ns, "none"), 404, "NotFound")
    await refused(api.create(config_map(f"{ns}-none")), 404, "NotFound")


async def test_generated_names_differ(api, ns, config_map):
    names = set()
    for _ in range(3):
        obj = config_map(ns)
        del obj["metadata"]["name"]
        obj["metadata"]["generateName"] = "gen-"
        names.add((await api.create(obj))["metadata"]["name"])
    assert len(names) == 3 and all(n.startswith("gen-") and len(n) == 9 for n in names)


async def test_update_with_a_stale_version_conflicts(api, ns, config_map):
    old = await api.create(config_map(ns))
    await api.update({**old, "data": {"k": "2"}})
    await refused(api.update({**old, "data": {"k": "3"}}), 409, "Conflict")
    assert (await api.get("ConfigMap", ns, "a"))["data"] == {"k": "2"}


async def test_update_without_a_version(api, ns, config_map, service_entry):
    await api.create(config_map(ns))
    assert (await api.update(config_map(ns, data={"k": "2"})))["data"] == {"k": "2"}
    await api.create(service_entry(ns))
    await refused(api.update(service_entry(ns)), 422, "Invalid")


async def test_update_of_another_uid_conflicts(api, ns, config_map):
    made = await api.create(config_map(ns))
    made["metadata"]["uid"] = "11111111-1111-1111-1111-111111111111"
    failure = await refused(api.update(made), 409, "Conflict")
    assert "uid" in str(failure).lower()


async def test_no_change_keeps_the_version(api, ns, config_map):
    made = await api.create(config_map(ns))
    assert (await api.update(made))["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_fifty_writers_lose_no_update(api, ns, config_map):
    await api.create(config_map(ns, data={"n": "0"}))
    conflicts = 0

    async def add_one():
        nonlocal conflicts
        while True:
            obj = await api.get("ConfigMap", ns, "a")
            obj["data"]["n"] = str(int(obj["data"]["n"]) + 1)
            try:
                return await api.update(obj)
            except StoreError as failure:
                assert failure.reason == "Conflict", failure
                conflicts += 1

    await asyncio.gather(*(add_one() for _ in range(50)))
    assert (await api.get("ConfigMap", ns, "a"))["data"]["n"] == "50"
    assert conflicts > 0


async def test_status_and_the_rest_are_written_apart(api, ns, service_entry):
    made = await api.create({**service_entry(ns), "status": {"conditions": [{"type": "X", "status": "True"}]}})
    assert not made.get("status")
    made["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    made["spec"]["hosts"] = ["changed.example.com"]
    after = await api.update(made, subresource="status")
    assert after["spec"]["hosts"] == ["example.com"]
    assert after["status"]["conditions"][0]["type"] == "Ready"
    assert after["metadata"]["generation"] == 1
    del after["status"]
    after["spec"]["hosts"] = ["changed.example.com"]
    again = await api.update(after)
    assert again["status"]["conditions"][0]["type"] == "Ready"


async def test_pod_status(api, ns):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": ns},
        "spec": {"containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 0},
    }
    made = await api.create(pod)
    assert made["status"]["phase"] == "Pending" and made["spec"]["serviceAccountName"] == "default"
    patch = {"status": {"phase": "Running", "podIP": "10.9.9.9", "podIPs": [{"ip": "10.9.9.9"}]}}
    path = resource(ns, "pods", "p") + "/status"
    answer = await api.request("PATCH", path, patch, headers={"Content-Type": "application/merge-patch+json"})
    assert answer.code == 200 and answer.json()["status"]["podIP"] == "10.9.9.9"


async def test_merge_patch(api, ns, config_map):
    await api.create(config_map(ns, data={"k": "v", "gone": "x"}))
    patch = {"data": {"gone": None, "new": "1"}, "metadata": {"labels": {"a": "b"}}}
    after = await api.patch("ConfigMap", ns, "a", patch, content_type="application/merge-patch+json")
    assert after["data"] == {"k": "v", "new": "1"} and after["metadata"]["labels"] == {"a": "b"}


async def test_patch_with_a_stale_version_conflicts(api, ns, config_map):
    made = await api.create(config_map(ns))
    await api.update({**made, "data": {"k": "2"}})
    patch = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"k": "3"}}
    await refused(api.patch("ConfigMap", ns, "a", patch, content_type="application/merge-patch+json"), 409, "Conflict")


async def test_json_patch(api, ns, service_entry):
    await api.create(service_entry(ns))
    operations = [
        {"op": "test", "path": "/spec/hosts/0", "value": "example.com"},
        {"op": "add", "path": "/spec/hosts/-", "value": "two.example.com"},
        {"op": "replace", "path": "/spec/location", "value": "MESH_INTERNAL"},
    ]
    kind = "application/json-patch+json"
    after = await api.patch("ServiceEntry", ns, "ext", operations, content_type=kind)
    assert after["spec"]["hosts"] == ["example.com", "two.example.com"]
    assert after["spec"]["location"] == "MESH_INTERNAL"
    failing = [{"op": "test", "path": "/spec/hosts/0", "value": "no"}, {"op": "remove", "path": "/spec/hosts/1"}]
    await refused(api.patch("ServiceEntry", ns, "ext", failing, content_type=kind), 422, "Invalid")
    assert (await api.get("ServiceEntry", ns, "ext"))["spec"] == after["spec"]


async def test_strategic_merge_patch_merges_ports_by_key(api, ns):
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": ns},
        "spec": {"selector": {"app": "x"}, "ports": ports},
    }
    await api.create(service)
    patch = {"spec": {"ports": [{"port": 81, "$patch": "delete"}, {"port": 80, "targetPort": 8080}]}}
    kind = "application/strategic-merge-patch+json"
    after = await api.patch("Service", ns, "s", patch, content_type=kind)
    shown = [(p["name"], p["port"], p["targetPort"]) for p in after["spec"]["ports"]]
    assert shown == [("a", 80, 8080)]


async def test_strategic_merge_patch_is_not_for_custom_resources(api, ns, service_entry):
    await api.create(service_entry(ns))
    kind = "application/strategic-merge-patch+json"
    await refused(api.patch("ServiceEntry", ns, "ext", {}, content_type=kind), 415, "UnsupportedMediaType")


async def apply(api, path, obj, manager, force=False):
    query = {"fieldManager": manager, "force": "true" if force else "false"}
    return await api.request("PATCH", path, obj, query=query, headers={"Content-Type": "application/apply-patch+yaml"})


async def test_apply_creates_changes_and_removes(api, ns, service_entry):
    path = resource(ns, "serviceentries", "ext")
    first = await apply(api, path, service_entry(ns, exportTo=["."]), "one")
    assert first.code == 201 and first.json()["metadata"]["managedFields"][0]["manager"] == "one"
    same = await apply(api, path, service_entry(ns, exportTo=["."]), "one")
    assert same.code == 200
    assert same.json()["metadata"]["resourceVersion"] == first.json()["metadata"]["resourceVersion"]
    after = (await apply(api, path, service_entry(ns, hosts=["b.example.com"]), "one")).json()
    assert after["spec"]["hosts"] == ["b.example.com"] and "exportTo" not in after["spec"]


async def test_apply_of_two_managers(api, ns, config_map):
    path = resource(ns, "configmaps", "a")
    await apply(api, path, config_map(ns, data={"k": "1"}), "one")
    both = await apply(api, path, config_map(ns, data={"other": "2"}), "two")
    assert both.json()["data"] == {"k": "1", "other": "2"}
    clash = await apply(api, path, config_map(ns, data={"k": "3", "other": "2"}), "two")
    assert clash.code == 409
    cause = clash.json()["details"]["causes"][0]
    assert cause["reason"] == "FieldManagerConflict" and cause["field"] == ".data.k"
    forced = await apply(api, path, config_map(ns, data={"k": "3", "other": "2"}), "two", force=True)
    assert forced.json()["data"] == {"k": "3", "other": "2"}
    left = await apply(api, path, {**config_map(ns), "data": {}}, "one")
    assert left.json()["data"] == {"k": "3", "other": "2"}


async def test_apply_needs_a_manager(api, ns, config_map):
    path = resource(ns, "configmaps", "a")
    headers = {"Content-Type": "application/apply-patch+yaml"}
    answer = await api.request("PATCH", path, config_map(ns), headers=headers)
    assert answer.code in (400, 422)


async def test_unknown_patch_type(api, ns, config_map):
    await api.create(config_map(ns))
    await refused(api.patch("ConfigMap", ns, "a", {}, content_type="application/json"), 415, "UnsupportedMediaType")


async def test_delete_checks_the_uid(api, ns, config_map):
    made = await api.create(config_map(ns))
    await refused(api.delete("ConfigMap", ns, "a", uid="11111111-1111-1111-1111-111111111111"), 409, "Conflict")
    await api.delete("ConfigMap", ns, "a", uid=made["metadata"]["uid"])
    await refused(api.get("ConfigMap", ns, "a"), 404, "NotFound")


async def test_delete_checks_the_version(api, ns, config_map):
    made = await api.create(config_map(ns))
    await api.update({**made, "data": {"k": "2"}})
    options = {"preconditions": {"resourceVersion": made["metadata"]["resourceVersion"]}}
    answer = await api.request("DELETE", resource(ns, "configmaps", "a"), options)
    assert answer.code == 409


async def test_finalizers_hold_an_object(api, ns, config_map):
    await api.create(config_map(ns, metadata={"finalizers": ["example.com/hold"]}))
    await api.delete("ConfigMap", ns, "a")
    held = await api.get("ConfigMap", ns, "a")
    assert held["metadata"]["deletionTimestamp"]
    patch = {"metadata": {"finalizers": None}}
    await api.patch("ConfigMap", ns, "a", patch, content_type="application/merge-patch+json")
    await refused(api.get("ConfigMap", ns, "a"), 404, "NotFound")


async def test_delete_of_a_collection(api, ns, config_map):
    for name in ("a", "b", "c"):
        await api.create(config_map(ns, name, metadata={"labels": {"n": name}}))
    answer = await api.request("DELETE", resource(ns), query={"labelSelector": "n in (a,b)"})
    assert answer.code == 200
    left = await api.list("ConfigMap", ns, label_selector="n")
    assert [o["metadata"]["name"] for o in left.items] == ["c"]


async def test_dry_run_changes_nothing(api, ns, config_map):
    made = await api.create(config_map(ns), dry_run=True)
    assert made["metadata"]["uid"]
    await refused(api.get("ConfigMap", ns, "a"), 404, "NotFound")
    await api.create(config_map(ns))
    answer = await api.request("DELETE", resource(ns, "configmaps", "a"), query={"dryRun": "All"})
    assert answer.code == 200
    assert await api.get("ConfigMap", ns, "a")


async def test_deleting_a_namespace_deletes_its_objects(api, ns, config_map, eventually):
    await api.create(config_map(ns))
    await api.delete("Namespace", "", ns)

    async def gone():
        return (await api.request("GET", f"/api/v1/namespaces/{ns}")).code == 404

    await eventually(gone, 120)
    await refused(api.get("ConfigMap", ns, "a"), 404, "NotFound")


async def test_default_namespace_cannot_be_deleted(api):
    await refused(api.delete("Namespace", "", "default"), 403, "Forbidden")


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3"])
async def test_every_version_shows_the_same_object(api, ns, service_entry, version):
    await api.create({**service_entry(ns), "apiVersion": f"networking.istio.io/{version}"})
    for shown in ("v1", "v1beta1", "v1alpha3"):
        root = f"/apis/networking.istio.io/{shown}/namespaces/{ns}/serviceentries"
        one, many = (await api.request("GET", f"{root}/ext")).json(), (await api.request("GET", root)).json()
        assert one["apiVersion"] == many["apiVersion"] == f"networking.istio.io/{shown}"
        assert one["spec"] == many["items"][0]["spec"] == service_entry(ns)["spec"]


@pytest.mark.parametrize(("wanted", "headless"), [({}, False), ({"clusterIP": "None"}, True)])
async def test_services_get_an_address_when_created(api, ns, wanted, headless):
    spec = {"selector": {"app": "x"}, "ports": [{"name": "http", "port": 80}], **wanted}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": ns}, "spec": spec}
    made = await api.create(service)
    address = made["spec"]["clusterIP"]
    assert (address == "None") is headless and made["spec"]["clusterIPs"] == [address]
    assert address
    made["spec"]["ports"][0]["port"] = 81
    assert (await api.update(made))["spec"]["clusterIP"] == address
    answer = await api.request("DELETE", resource(ns, "services", "s"), query={"dryRun": "All"})
    assert answer.code == 200
    if not headless:
        other = {**service, "metadata": {"name": "t", "namespace": ns}, "spec": {**spec, "clusterIP": address}}
        await refused(api.create(other), 422, "Invalid")


async def test_endpoint_slices_follow_pods(backend, api, ns, eventually):
    if not backend.embedded:
        pytest.skip("a real cluster's need Nodes")
    spec = {"selector": {"app": "x"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    await api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": ns}, "spec": spec})
    meta = {"name": "p", "namespace": ns, "labels": {"app": "x"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    made = await api.create(pod)
    ready = [{"type": "Ready", "status": "True"}]
    made["status"] = {
        "phase": "Running",
        "podIP": "10.9.9.9",
        "podIPs": [{"ip": "10.9.9.9"}],
        "conditions": ready,
    }
    await api.update(made, subresource="status")

    async def addresses():
        slices = await api.list("EndpointSlice", ns, label_selector="kubernetes.io/service-name=s")
        return [(e["addresses"], s["ports"][0]["port"]) for s in slices.items for e in s.get("endpoints") or ()]

    assert await eventually(addresses) == [(["10.9.9.9"], 8080)]
