"""Refusals, warnings, tables, discovery, identity."""

import pytest

from tidegate.api.kinds import KINDS
from tidegate.store.client import KubeStore, path_of
from tidegate.store.kubeconfig import Access, load
from tidegate.store.model import StoreError

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
ISTIO = [k for k in KINDS.values() if k.strict]


def entries(ns):
    return f"/apis/networking.istio.io/v1/namespaces/{ns}/serviceentries"


async def test_unknown_field_warns_or_is_refused(api, ns, service_entry):
    obj = service_entry(ns, nosuchfield=1)
    strict = await api.request("POST", entries(ns), obj, query={"fieldValidation": "Strict"})
    assert strict.code == 400 and "nosuchfield" in strict.json()["message"]
    warned = await api.request("POST", entries(ns), obj, query={"fieldValidation": "Warn"})
    assert warned.code == 201
    assert any(w.startswith("299 - ") and "nosuchfield" in w for w in warned.warnings), warned.warnings
    assert "nosuchfield" not in warned.json()["spec"]


async def test_a_good_object_does_not_warn_of_fields(api, ns, service_entry):
    answer = await api.request("POST", entries(ns), service_entry(ns), query={"fieldValidation": "Strict"})
    assert answer.code == 201
    assert not any("unknown field" in w for w in answer.warnings)


async def test_wrong_type_names_the_field(api, ns, service_entry):
    answer = await api.request("POST", entries(ns), service_entry(ns, hosts="example.com"))
    status = answer.json()
    assert (answer.code, status["reason"], status["kind"]) == (422, "Invalid", "Status")
    causes = status["details"]["causes"]
    assert any(c["field"] == "spec.hosts" and c["reason"] and c["message"] for c in causes), causes
    assert status["details"]["name"] == "ext"


async def test_bad_name(api, ns, config_map):
    with pytest.raises(StoreError) as caught:
        await api.create(config_map(ns, "Not_A_Name"))
    assert caught.value.code == 422
    assert caught.value.details["causes"][0]["field"] == "metadata.name"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/apis/nosuch.example.com/v1/things", 404),
        ("GET", "/api/v1/nosuch", 404),
        ("GET", "/apis/networking.istio.io/v9/serviceentries", 404),
        ("PUT", "/api/v1/namespaces/default/configmaps", 405),
        ("POST", "/api/v1/namespaces/default/configmaps/a", 405),
    ],
)
async def test_paths_that_are_not_served(api, method, path, code):
    answer = await api.request(method, path, {} if method != "GET" else None)
    assert answer.code == code, answer.body


@pytest.mark.parametrize(
    ("body", "headers", "codes"),
    [
        (b"{not json", {}, (400,)),
        (b"[]", {}, (400,)),
        (b"[" * 100_000, {}, (400,)),
        (b"x" * (4 * 1024 * 1024), {}, (413, 400)),
        (b"{}", {"Content-Type": "text/html"}, (415,)),
        (b'{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}', {}, (400,)),
        (b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"other"}}', {}, (400,)),
    ],
)
async def test_bodies_that_cannot_be_used(api, ns, body, headers, codes):
    answer = await api.request("POST", f"/api/v1/namespaces/{ns}/configmaps", body, headers=headers)
    assert answer.code in codes and answer.json()["kind"] == "Status", answer.body[:300]
    assert (await api.request("GET", f"/api/v1/namespaces/{ns}/configmaps/a")).code == 404


async def test_unknown_tokens_are_refused(backend):
    good = load(backend.kubeconfig)
    async with KubeStore(Access(good.server, good.tls, "not-a-token", good.server_name)) as stranger:
        with pytest.raises(StoreError) as caught:
            await stranger.get("Namespace", "", "default")
    assert (caught.value.code, caught.value.reason) == (401, "Unauthorized")


async def test_unacceptable_answers(api):
    answer = await api.request("GET", "/api/v1/namespaces", headers={"Accept": "text/html"})
    assert answer.code == 406


@pytest.mark.parametrize("kind", ISTIO, ids=lambda k: k.kind)
async def test_columns_of_istio_kinds(api, ns, kind):
    table = (await api.request("GET", path_of(kind, ns), headers=TABLE)).json()
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    declared = [c.name for c in kind.columns] or ["Age"]
    assert [c["name"] for c in table["columnDefinitions"]] == ["Name", *declared]


@pytest.mark.parametrize(
    ("plural", "expected"),
    [
        ("pods", ["Name", "Ready", "Status", "Restarts", "Age"]),
        ("services", ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age"]),
        ("configmaps", ["Name", "Data", "Age"]),
        ("secrets", ["Name", "Type", "Data", "Age"]),
        ("endpoints", ["Name", "Endpoints", "Age"]),
        ("serviceaccounts", ["Name", "Age"]),
        ("namespaces", ["Name", "Status", "Age"]),
        ("nodes", ["Name", "Status", "Roles", "Age", "Version"]),
    ],
)
async def test_columns_of_core_kinds(api, plural, expected):
    table = (await api.request("GET", f"/api/v1/{plural}", headers=TABLE)).json()
    assert [c["name"] for c in table["columnDefinitions"] if c["priority"] == 0] == expected


async def test_rows_of_a_table(api, ns, service_entry):
    await api.create(service_entry(ns))
    table = (await api.request("GET", entries(ns), headers=TABLE)).json()
    (row,) = table["rows"]
    assert row["cells"][:4] == ["ext", '["example.com"]', "MESH_EXTERNAL", "STATIC"]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"]["name"] == "ext"


async def test_metadata_only(api, ns, service_entry):
    await api.create(service_entry(ns))
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
    found = (await api.request("GET", entries(ns), headers=accept)).json()
    assert found["kind"] == "PartialObjectMetadataList" and "spec" not in found["items"][0]


async def test_discovery_lists_the_kinds(api):
    groups = {k.api_version for k in ISTIO}
    found = {g: (await api.request("GET", f"/apis/{g}")).json()["resources"] for g in groups}
    for kind in ISTIO:
        served = {r["name"]: r for r in found[kind.api_version]}
        entry = served[kind.plural]
        assert (entry["kind"], entry["namespaced"]) == (kind.kind, True)
        assert tuple(entry.get("shortNames", ())) == kind.short_names
        assert "watch" in entry["verbs"] and f"{kind.plural}/status" in served


async def test_aggregated_discovery(api):
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    found = (await api.request("GET", "/apis", headers=accept)).json()
    assert found["kind"] == "APIGroupDiscoveryList"
    groups = {item["metadata"]["name"]: item for item in found["items"]}
    versions = [v["version"] for v in groups["networking.istio.io"]["versions"]]
    assert versions == ["v1", "v1beta1", "v1alpha3"]


async def test_openapi_tells_that_patch_takes_field_validation(api):
    index = (await api.request("GET", "/openapi/v3")).json()["paths"]
    for name in ("api/v1", "apis/networking.istio.io/v1", "apis/discovery.k8s.io/v1"):
        document = (await api.request("GET", index[name]["serverRelativeURL"])).json()
        patches = [item["patch"] for item in document["paths"].values() if "patch" in item]
        patches = [operation for operation in patches if operation.get("x-kubernetes-action") == "patch"]
        assert patches
        for operation in patches:
            assert "fieldValidation" in {p["name"] for p in operation["parameters"]}
            assert operation["x-kubernetes-group-version-kind"]["kind"]


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
async def test_health(api, path):
    assert (await api.request("GET", path)).body == b"ok"


async def make_pod(api, ns):
    containers = [{"name": "c", "image": "i"}]
    spec = {"containers": containers, "terminationGracePeriodSeconds": 0, "serviceAccountName": "default"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": ns}, "spec": spec}
    return await api.create(pod)


async def test_tokens_bound_to_a_pod(backend, api, ns):
    pod = await make_pod(api, ns)
    token = await api.create_token(ns, "default", audiences=("istio-ca",), pod=pod)
    identity = await api.review_token(token, audiences=("istio-ca",))
    assert identity is not None
    assert identity.username == f"system:serviceaccount:{ns}:default"
    assert (identity.namespace, identity.service_account) == (ns, "default")
    assert (identity.pod, identity.pod_uid) == ("p", pod["metadata"]["uid"])
    assert f"system:serviceaccounts:{ns}" in identity.groups
    assert await api.review_token(token, audiences=("other",)) is None
    assert await api.review_token(token + "x", audiences=("istio-ca",)) is None
    if backend.embedded:
        await api.delete("Pod", ns, "p")
        assert await api.review_token(token, audiences=("istio-ca",)) is None


async def test_tokens_need_their_account_and_a_sane_life(api, ns):
    with pytest.raises(StoreError) as caught:
        await api.create_token(ns, "none", audiences=("istio-ca",))
    assert caught.value.code == 404
    with pytest.raises(StoreError) as caught:
        await api.create_token(ns, "default", audiences=("istio-ca",), seconds=1)
    assert caught.value.code == 422
    assert caught.value.details["causes"][0]["field"] == "spec.expirationSeconds"


async def test_a_service_account_may_not_read_secrets(backend, api, ns):
    token = await api.create_token(ns, "default", audiences=())
    good = load(backend.kubeconfig)
    async with KubeStore(Access(good.server, good.tls, token, good.server_name)) as account:
        with pytest.raises(StoreError) as caught:
            await account.list("Secret", ns)
        assert (caught.value.code, caught.value.reason) == (403, "Forbidden")
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await account.request("POST", path, body)
    assert answer.json()["status"]["userInfo"]["username"] == f"system:serviceaccount:{ns}:default"
