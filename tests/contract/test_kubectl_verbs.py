"""Further verbs of stock kubectl, the same on both backends."""

import json

import pytest

ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: ext
  namespace: {ns}
  labels: {{tier: a}}
spec:
  hosts: [example.com]
  ports:
  - {{number: 80, name: http, protocol: HTTP}}
  location: {location}
  resolution: STATIC
  endpoints:
  - address: 10.1.1.1
"""

EVENT = """
apiVersion: v1
kind: Event
metadata: {{name: ext.1, namespace: {ns}}}
involvedObject: {{apiVersion: networking.istio.io/v1, kind: ServiceEntry, name: ext, namespace: {ns}, uid: {uid}}}
reason: Shadowed
message: something happened
type: Warning
count: 1
firstTimestamp: "2026-01-01T00:00:00Z"
lastTimestamp: "2026-01-01T00:00:00Z"
source: {{component: tidegate}}
"""


def entry(ns, location="MESH_EXTERNAL"):
    return ENTRY.format(ns=ns, location=location)


def shown(kubectl, ns, path, name="se/ext"):
    return kubectl("get", name, "-n", ns, "-o", "jsonpath={" + path + "}")


def managers(kubectl, ns, name="se/ext"):
    found = json.loads(kubectl("get", name, "-n", ns, "-o", "json", "--show-managed-fields"))["metadata"]
    # controllers write status: the allocated address of a host without one
    return {(m["manager"], m["operation"]) for m in found["managedFields"] if m.get("subresource") != "status"}


@pytest.fixture
def applied(kubectl, ns):
    kubectl("apply", "-f", "-", stdin=entry(ns))
    return ns


def server_side(kubectl, text, manager, *more, code=0):
    return kubectl("apply", "--server-side", f"--field-manager={manager}", *more, "-f", "-", stdin=text, code=code)


def test_managers_conflict_and_force_settles(kubectl, ns):
    server_side(kubectl, entry(ns), "one")
    told = server_side(kubectl, entry(ns, "MESH_INTERNAL"), "two", code=1)
    assert ".spec.location" in told and "one" in told
    assert shown(kubectl, ns, ".spec.location") == "MESH_EXTERNAL"
    server_side(kubectl, entry(ns, "MESH_INTERNAL"), "two", "--force-conflicts")
    assert shown(kubectl, ns, ".spec.location") == "MESH_INTERNAL"
    assert managers(kubectl, ns) == {("one", "Apply"), ("two", "Apply")}


def test_every_writer_owns_what_it_wrote(kubectl, applied):
    ns = applied
    kubectl("label", "se", "ext", "-n", ns, "tier=b", "--overwrite")
    kubectl("patch", "se", "ext", "-n", ns, "--type=merge", "-p", '{"spec":{"resolution":"DNS"}}')
    assert managers(kubectl, ns) == {
        ("kubectl-client-side-apply", "Update"),
        ("kubectl-label", "Update"),
        ("kubectl-patch", "Update"),
    }
    told = server_side(kubectl, entry(ns), "two", code=1)
    assert ".metadata.labels.tier" in told and ".spec.resolution" in told
    assert "kubectl-label" in told and "kubectl-patch" in told


def test_fields_no_longer_applied_go_and_those_of_others_stay(kubectl, ns):
    server_side(kubectl, entry(ns), "one")
    kubectl("annotate", "se", "ext", "-n", ns, "example.com/note=x")
    without = entry(ns).replace("  location: MESH_EXTERNAL\n", "").replace("  labels: {tier: a}\n", "")
    server_side(kubectl, without, "one")
    found = json.loads(kubectl("get", "se", "ext", "-n", ns, "-o", "json"))
    assert "location" not in found["spec"] and "labels" not in found["metadata"]
    assert found["metadata"]["annotations"] == {"example.com/note": "x"}


def test_what_was_applied_on_the_clients_side_can_be_taken_over(kubectl, applied):
    ns = applied
    kubectl("apply", "--server-side", "-f", "-", stdin=entry(ns))
    kubectl("apply", "--server-side", "-f", "-", stdin=entry(ns).replace("  location: MESH_EXTERNAL\n", ""))
    assert shown(kubectl, ns, ".spec") and "location" not in shown(kubectl, ns, ".spec")
    assert "kubectl-client-side-apply" not in {name for name, _ in managers(kubectl, ns)}
    assert "location" not in shown(kubectl, ns, ".metadata.annotations")


def test_lists_of_custom_resources_have_one_owner(kubectl, ns):
    server_side(kubectl, entry(ns), "one")
    told = server_side(kubectl, entry(ns).replace("10.1.1.1", "10.1.1.2"), "two", code=1)
    assert ".spec.endpoints" in told


def test_ports_of_services_are_owned_one_by_one(kubectl, ns):
    service = f"apiVersion: v1\nkind: Service\nmetadata: {{name: s, namespace: {ns}}}\nspec: {{ports: [%s]}}\n"
    server_side(kubectl, service % "{name: a, port: 80}", "one")
    server_side(kubectl, service % "{name: b, port: 81}", "two")
    assert shown(kubectl, ns, ".spec.ports[*].port", "svc/s") == "80 81"
    server_side(kubectl, service % "{name: c, port: 82}", "one")
    assert sorted(shown(kubectl, ns, ".spec.ports[*].port", "svc/s").split()) == ["81", "82"]


def test_edit(kubectl, applied, monkeypatch):
    monkeypatch.setenv("EDITOR", "sed -i s/MESH_EXTERNAL/MESH_INTERNAL/")
    assert "edited" in kubectl("edit", "se", "ext", "-n", applied)
    assert shown(kubectl, applied, ".spec.location") == "MESH_INTERNAL"
    assert ("kubectl-edit", "Update") in managers(kubectl, applied)


@pytest.mark.parametrize("more", [(), ("--server-side", "--force-conflicts")])
def test_diff_shows_only_what_would_change(kubectl, applied, more):
    before = shown(kubectl, applied, ".metadata.resourceVersion")
    told = kubectl("diff", *more, "-f", "-", stdin=entry(applied, "MESH_INTERNAL"), code=1)
    changed = {line.strip() for line in told.splitlines() if line.startswith(("+ ", "- "))}
    assert {"+  location: MESH_INTERNAL", "-  location: MESH_EXTERNAL"} <= changed
    assert not [line for line in changed if "resourceVersion" in line or "managedFields" in line]
    assert shown(kubectl, applied, ".metadata.resourceVersion") == before
    assert kubectl("diff", "-f", "-", stdin=entry(applied)) == ""


def test_generation_counts_changes_of_the_spec(kubectl, applied):
    def patched(text, *more):
        kubectl("patch", "se", "ext", "-n", applied, "--type=merge", "-p", text, *more)
        return shown(kubectl, applied, ".metadata.generation")

    assert patched('{"metadata":{"labels":{"a":"b"}}}') == "1"
    assert patched('{"status":{"conditions":[{"type":"Ok","status":"True"}]}}', "--subresource=status") == "1"
    assert patched('{"spec":{"resolution":"DNS"}}') == "2"
    assert "condition met" in kubectl("wait", "se/ext", "-n", applied, "--for=condition=Ok", "--timeout=20s")
    kubectl("wait", "se/ext", "-n", applied, "--for=jsonpath={.spec.resolution}=DNS", "--timeout=20s")


def test_wait_for_delete_of_a_held_object(kubectl, applied):
    kubectl("patch", "se", "ext", "-n", applied, "--type=merge", "-p", '{"metadata":{"finalizers":["example.com/x"]}}')
    kubectl("delete", "se", "ext", "-n", applied, "--wait=false")
    assert shown(kubectl, applied, ".metadata.deletionTimestamp")
    kubectl("patch", "se", "ext", "-n", applied, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    kubectl("wait", "se/ext", "-n", applied, "--for=delete", "--timeout=20s")


def test_forms_of_output_and_selectors(kubectl, applied):
    ns = applied
    assert kubectl("get", "se", "-n", ns, "-o", "name").strip() == "serviceentry.networking.istio.io/ext"
    columns = kubectl("get", "se", "-n", ns, "-o", "custom-columns=N:.metadata.name,H:.spec.hosts")
    assert columns.splitlines()[1].split() == ["ext", "[example.com]"]
    for found in ("tier in (a,b),!x", "tier!=z", "tier=a"):
        assert "ext" in kubectl("get", "se,we,wg,dr,vs,sidecar,gw", "-n", ns, "-l", found)
    assert "No resources" in kubectl("get", "se", "-n", ns, "-l", "tier notin (a)")
    assert "ext" in kubectl("get", "istio-io", "-n", ns, "--field-selector=metadata.name=ext")
    assert "not supported" in kubectl("get", "se", "-n", ns, "--field-selector=spec.x=y", code=1)


def test_explain(kubectl):
    told = kubectl("explain", "vs.spec.http.match")
    assert "VirtualService" in told and "sourceLabels" in told
    assert "weight" in kubectl("explain", "vs", "--recursive")
    assert "targetPort" in kubectl("explain", "svc.spec.ports")


def test_resources_and_versions(kubectl):
    listed = kubectl("api-resources", "--namespaced", "-o", "wide")
    for name in ("serviceentries", "events", "leases", "endpointslices"):
        assert name in listed
    assert {"v1", "networking.istio.io/v1beta1", "events.k8s.io/v1"} <= set(kubectl("api-versions").split())


def test_events(kubectl, applied):
    ns = applied
    kubectl("create", "-f", "-", stdin=EVENT.format(ns=ns, uid=shown(kubectl, ns, ".metadata.uid")))
    header, row = kubectl("get", "events", "-n", ns).splitlines()
    assert header.split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert row.split()[1:] == ["Warning", "Shadowed", "serviceentry/ext", "something", "happened"]
    assert "something happened" in kubectl("events", "-n", ns, "--for=se/ext")
    assert "something happened" in kubectl("describe", "se", "ext", "-n", ns)
    assert "No resources" in kubectl("get", "ev", "-n", ns, "--field-selector=involvedObject.name=other")
    other = json.loads(kubectl("get", "events.v1.events.k8s.io", "ext.1", "-n", ns, "-o", "json"))
    assert (other["apiVersion"], other["note"]) == ("events.k8s.io/v1", "something happened")
    assert other["regarding"]["name"] == "ext" and "message" not in other


def test_leases(kubectl, ns):
    lease = f"apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {{name: l, namespace: {ns}}}\n"
    kubectl("create", "-f", "-", stdin=lease + "spec: {holderIdentity: me, leaseDurationSeconds: 15}\n")
    assert kubectl("get", "lease", "-n", ns).splitlines()[1].split()[:2] == ["l", "me"]


def test_unknown_and_duplicate_fields(kubectl, ns):
    text = f"apiVersion: v1\nkind: Service\nmetadata: {{name: s, namespace: {ns}}}\n"
    text += "spec: {selectr: {a: b}, ports: [{port: 80, targetport: 81}]}\n"
    told = kubectl("create", "-f", "-", stdin=text, code=1)
    assert "spec.selectr" in told and "spec.ports[0].targetport" in told
    warned = kubectl("create", "--validate=warn", "-f", "-", stdin=text)
    assert "Warning" in warned and "spec.selectr" in warned
    assert "selectr" not in kubectl("get", "svc", "s", "-n", ns, "-o", "json")


def test_the_administrator_may_do_all(kubectl, ns):
    assert kubectl("auth", "can-i", "create", "virtualservices", "-n", ns).strip() == "yes"


def test_commands_that_read_and_write_back(kubectl, ns):
    kubectl("create", "service", "clusterip", "w", "-n", ns, "--tcp=80")
    kubectl("set", "selector", "svc", "w", "a=b", "-n", ns)
    kubectl("expose", "svc", "w", "-n", ns, "--name=x", "--port=81")
    assert shown(kubectl, ns, ".spec.selector", "svc/x") == '{"a":"b"}'
    assert shown(kubectl, ns, ".spec.ports[0].port", "svc/x") == "81"
