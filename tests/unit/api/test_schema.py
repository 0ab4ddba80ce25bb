import json
from pathlib import Path
from typing import Any

import pytest

from tidegate.api.kinds import KINDS
from tidegate.api.schema import DEFINITIONS, OBJECT_META, crd_manifests, openapi_schemas, schema_name

ISTIO = [name for name, kind in KINDS.items() if kind.strict]
CRDS = {crd["spec"]["names"]["kind"]: crd for crd in crd_manifests()}


def spec_of(kind: str, version: int = 0) -> dict[str, Any]:
    schema: dict[str, Any] = CRDS[kind]["spec"]["versions"][version]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def test_a_crd_for_each_istio_kind() -> None:
    assert list(CRDS) == ISTIO
    assert CRDS["ServiceEntry"]["metadata"]["name"] == "serviceentries.networking.istio.io"
    assert CRDS["ServiceEntry"]["spec"]["names"] == {
        "kind": "ServiceEntry",
        "listKind": "ServiceEntryList",
        "plural": "serviceentries",
        "singular": "serviceentry",
        "shortNames": ["se"],
        "categories": ["istio-io", "networking-istio-io"],
    }


@pytest.mark.parametrize("kind", ISTIO)
def test_versions_storage_and_status(kind: str) -> None:
    versions = CRDS[kind]["spec"]["versions"]
    named = enumerate(KINDS[kind].versions)
    assert [(v["name"], v["storage"], v["served"]) for v in versions] == [(name, i == 0, True) for i, name in named]
    assert all(v["subresources"] == {"status": {}} for v in versions)
    assert json.loads(json.dumps(versions)) == versions


def test_printer_columns() -> None:
    columns = CRDS["ServiceEntry"]["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [(c["name"], c["jsonPath"]) for c in columns] == [
        ("Hosts", ".spec.hosts"),
        ("Location", ".spec.location"),
        ("Resolution", ".spec.resolution"),
        ("Age", ".metadata.creationTimestamp"),
    ]


def test_types_limits_and_meanings() -> None:
    entry = spec_of("ServiceEntry")
    assert entry["required"] == ["hosts"]
    assert entry["properties"]["hosts"]["minItems"] == 1
    assert entry["properties"]["addresses"]["items"] == {"type": "string", "maxLength": 64}
    assert entry["properties"]["resolution"]["enum"] == ["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"]
    number = entry["properties"]["ports"]["items"]["properties"]["number"]
    assert (number["type"], number["minimum"], number["maximum"]) == ("integer", 0, 2**32 - 1)
    assert all(member["description"] for member in entry["properties"].values())


def test_oneof_groups_allow_at_most_one() -> None:
    match = spec_of("VirtualService")["properties"]["http"]["items"]["properties"]["match"]["items"]["properties"][
        "uri"
    ]
    each = [{"required": ["exact"]}, {"required": ["prefix"]}, {"required": ["regex"]}]
    assert match["oneOf"] == [{"not": {"anyOf": each}}, *each]
    balancer = spec_of("DestinationRule")["properties"]["trafficPolicy"]["properties"]["loadBalancer"]
    assert len(balancer["properties"]["consistentHash"]["allOf"]) == 2


def structural(schema: dict[str, Any], path: str) -> None:
    """What Kubernetes asks of a CRD's schema: every place has a type, and no references."""
    assert "$ref" not in schema, path
    assert schema.get("type") or schema.get("x-kubernetes-preserve-unknown-fields"), path
    for name, member in schema.get("properties", {}).items():
        structural(member, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            structural(schema[key], f"{path}[]")


@pytest.mark.parametrize("kind", ISTIO)
def test_schemas_are_structural(kind: str) -> None:
    structural(CRDS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"], kind)


def test_openapi_names_and_kinds() -> None:
    schemas = openapi_schemas(KINDS.values())
    assert OBJECT_META in schemas
    for kind in KINDS.values():
        for version in kind.versions:
            found = schemas[schema_name(kind, version)]["x-kubernetes-group-version-kind"]
            assert found == [{"group": kind.group, "version": version, "kind": kind.kind}]
    assert schema_name(KINDS["Pod"], "v1") == "io.k8s.api.core.v1.Pod"
    assert schema_name(KINDS["EndpointSlice"], "v1") == "io.k8s.api.discovery.v1.EndpointSlice"
    assert schema_name(KINDS["Sidecar"], "v1beta1") == "io.istio.networking.v1beta1.Sidecar"


def test_core_kinds_are_open_and_say_how_their_lists_merge() -> None:
    pod = openapi_schemas([KINDS["Pod"]])["io.k8s.api.core.v1.Pod"]
    spec = pod["properties"]["spec"]
    assert spec["x-kubernetes-preserve-unknown-fields"] is True
    containers = spec["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    assert containers["items"]["properties"]["ports"]["x-kubernetes-patch-merge-key"] == "containerPort"
    assert containers["items"]["properties"]["env"]["x-kubernetes-patch-merge-key"] == "name"
    assert spec["properties"]["volumes"]["x-kubernetes-patch-strategy"] == "merge,retainKeys"
    service = openapi_schemas([KINDS["Service"]])["io.k8s.api.core.v1.Service"]
    assert service["properties"]["spec"]["properties"]["ports"]["x-kubernetes-patch-merge-key"] == "port"


def test_kinds_without_spec_have_their_fields_at_the_top() -> None:
    part = openapi_schemas([KINDS["EndpointSlice"]])["io.k8s.api.discovery.v1.EndpointSlice"]
    assert {"addressType", "endpoints", "ports", "metadata"} <= part["properties"].keys()


@pytest.mark.parametrize(
    ("prefix", "metadata"),
    [
        ("#/components/schemas/", {"allOf": [{"$ref": f"#/components/schemas/{OBJECT_META}"}]}),
        (DEFINITIONS, {"$ref": f"#/definitions/{OBJECT_META}"}),
    ],
)
def test_references_fit_their_document(prefix: str, metadata: dict[str, Any]) -> None:
    found = openapi_schemas([KINDS["Pod"]], ref_prefix=prefix)["io.k8s.api.core.v1.Pod"]["properties"]["metadata"]
    assert metadata.items() <= found.items()


def test_marking_one_document_leaves_the_next_alone() -> None:
    assert openapi_schemas(KINDS.values()) == openapi_schemas(KINDS.values())


@pytest.mark.parametrize("kind", ["AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"])
def test_security_kinds_are_named_as_istio_names_them(kind: str, shared: Path) -> None:
    sheet = json.loads((shared / "reference/api/fields.json").read_text())["crds"][kind]
    spec = CRDS[kind]["spec"]
    assert spec["group"] == sheet["group"]
    assert [spec["names"][name] for name in ("plural", "singular", "shortNames", "categories")] == [
        sheet[name] for name in ("plural", "singular", "shortNames", "categories")
    ]
    for made, wanted in zip(spec["versions"], sheet["versions"], strict=True):
        columns = [(c["name"], c["jsonPath"], c["type"]) for c in made.get("additionalPrinterColumns", ())]
        assert columns == [(c["name"], c["jsonPath"], c["type"]) for c in wanted["printerColumns"]]
        assert (made["name"], made["served"], made["storage"]) == (wanted["name"], wanted["served"], wanted["storage"])


def test_the_least_number_of_entries() -> None:
    ports = spec_of("PeerAuthentication")["properties"]["portLevelMtls"]
    assert ports["minProperties"] == 1
