"""Worlds from manifests alone: what admission, controllers and the control plane would do."""

from pathlib import Path

import pytest

from tidegate.api.objects import Ref
from tidegate.app.offline import manifests
from tidegate.app.offline import world as offline
from tidegate.app.offline.findings import Severity
from tidegate.kit.errors import TidegateError
from tidegate.registry.model import ServiceKey

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.9, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web}}
spec: {containers: [{name: app}]}
status: {phase: Running, podIP: 10.1.0.5, conditions: [{type: Ready, status: "True"}]}
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: web}]}
"""
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-x, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.77]}]
ports: [{name: http, port: 8080}]
"""
ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: out}
spec:
  hosts: [out.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: NONE
"""
WEB = ServiceKey("shop", "web.shop.svc.cluster.local")


def built(*texts: str, **settings: object) -> offline.Offline:
    given = manifests.parse("\n---\n".join(texts), "f")
    return offline.build(given, offline.Settings(**settings))  # type: ignore[arg-type]


def told(found: offline.Offline) -> list[tuple[str, int, str]]:
    return [(f.severity.value, f.line, f.field) for f in found.findings]


class TestControllers:
    def test_slices_are_made_from_pods(self) -> None:
        world = built(SERVICE, POD).hub.world
        assert [(e.address, e.port) for e in world.endpoints[WEB]] == [("10.1.0.5", 8080)]

    def test_slices_that_are_given_stay_alone(self) -> None:
        world = built(SERVICE, POD, SLICE).hub.world
        assert [e.address for e in world.endpoints[WEB]] == ["10.1.0.77"]

    def test_a_pod_as_people_write_it_is_taken_to_run(self) -> None:
        found = built(SERVICE, POD.partition("status:")[0])
        assert [e.address for e in found.hub.world.endpoints[WEB]] == ["198.18.0.1"]
        assert found.assumed == {Ref("Pod", "shop", "web-0"): "198.18.0.1"}

    def test_pods_of_a_deployment(self) -> None:
        found = built(SERVICE, DEPLOYMENT)
        assert [e.address for e in found.hub.world.endpoints[WEB]] == ["198.18.0.1", "198.18.0.2"]
        assert {w.workload_name for w in found.hub.world.workloads.values()} == {"web"}
        assert {str(found.place(ref)) for ref in found.assumed} == {"f:9"}

    def test_a_deployment_whose_pods_are_given(self) -> None:
        found = built(SERVICE, POD, DEPLOYMENT)
        assert [e.address for e in found.hub.world.endpoints[WEB]] == ["10.1.0.5"]

    def test_a_pod_that_does_not_run_is_no_endpoint(self) -> None:
        pending = POD.replace("Running", "Failed")
        assert (
            WEB not in built(SERVICE, pending).hub.world.endpoints
            or not built(SERVICE, pending).hub.world.endpoints[WEB]
        )

    def test_addresses_stay_as_they_are_given(self) -> None:
        assert built(SERVICE).hub.world.services[WEB].addresses == ("10.96.0.9",)

    def test_an_allocated_address_is_honoured(self) -> None:
        status = "status: {addresses: [{value: 240.240.0.7, host: out.example.com}]}"
        entry = ENTRY.replace("NONE", "DNS") + status
        world = built(entry).hub.world
        assert world.services[ServiceKey("default", "out.example.com")].auto_addresses == ("240.240.0.7",)


class TestAdmission:
    def test_what_is_refused_is_left_out_and_told_with_its_place(self) -> None:
        found = built(SERVICE, ENTRY.replace("NONE", "SOMEHOW"))
        assert told(found) == [("error", 15, "spec.resolution")]
        assert list(found.hub.world.services) == [WEB]

    def test_every_error_of_an_object(self) -> None:
        bad = ENTRY.replace("hosts: [out.example.com]", 'hosts: ["*"]').replace("number: 80", "number: 0")
        assert {f.field for f in built(bad).findings} == {"spec.hosts[0]", "spec.ports[0].number"}

    def test_a_field_that_is_unknown(self) -> None:
        found = built(ENTRY + "  resolutoin: DNS\n")
        assert told(found) == [("error", 9, "spec.resolutoin")]

    def test_the_namespace_of_objects_that_name_none(self) -> None:
        assert Ref("ServiceEntry", "team", "out") in built(ENTRY, namespace="team").documents

    def test_kinds_that_are_not_served_are_named(self) -> None:
        found = built("apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: x}")
        assert found.findings[0].severity is Severity.INFO
        assert "CronJob is not judged" in found.findings[0].message
        assert found.unjudged == {"CronJob": 1}

    @pytest.mark.parametrize("text", ["- a\n- b", "just words", "spec: {}", "kind: {a: b}"])
    def test_what_is_no_object(self, text: str) -> None:
        assert "must be a Kubernetes object" in built(text).findings[0].message

    def test_a_mesh_configuration_among_the_manifests(self) -> None:
        assert "--mesh-config" in built("accessLogFile: /dev/stdout").findings[0].message

    def test_the_last_of_two_objects_counts(self) -> None:
        found = built(ENTRY, ENTRY.replace("out.example", "other.example"))
        assert "is given twice, first at f:4" in found.findings[0].message
        assert list(found.hub.world.services) == [ServiceKey("default", "other.example.com")]

    def test_what_a_store_has_is_not_judged_again(self) -> None:
        unnamed = SERVICE.replace("ports: [", "ports: [{name: http, port: 81}, ")
        assert built(unnamed).findings
        assert not built(unnamed, judged=False).findings


class TestTogether:
    def test_a_port_that_takes_another_objects_connections(self) -> None:
        tcp = ENTRY.replace("name: http, protocol: HTTP", "name: tcp, protocol: TCP")
        other = tcp.replace("name: out", "name: other").replace("out.example", "other.example")
        found = [f for f in built(tcp, other).findings if "takes every connection" in f.message]
        assert [(f.object, f.severity) for f in found] == [("ServiceEntry/default/other", Severity.WARNING)]

    def test_conflicts_are_told_at_the_object(self) -> None:
        route = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: root, namespace: shop}
spec:
  hosts: [web]
  http: [{delegate: {name: nobody}}]
"""
        assert [(f.line, "there is no such VirtualService" in f.message) for f in built(route).findings] == [(4, True)]


class TestMeshConfig:
    def test_of_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "mesh.yaml").write_text("accessLogFile: /dev/stderr\n")
        world = built(SERVICE, mesh_config=tmp_path / "mesh.yaml").hub.world
        assert world.mesh.access_log_file == "/dev/stderr"

    def test_of_a_config_map(self, tmp_path: Path) -> None:
        text = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: istio}\ndata:\n  mesh: |\n    accessLogFile: /x\n"
        (tmp_path / "cm.yaml").write_text(text)
        assert built(SERVICE, mesh_config=tmp_path / "cm.yaml").hub.world.mesh.access_log_file == "/x"

    def test_it_counts_in_place_of_the_manifests_own(self, tmp_path: Path) -> None:
        (tmp_path / "mesh.yaml").write_text("accessLogFile: /mine\n")
        meta = "metadata: {name: istio, namespace: istio-system}"
        own = f"kind: ConfigMap\napiVersion: v1\n{meta}\ndata: {{mesh: 'accessLogFile: /theirs'}}"
        assert built(own, mesh_config=tmp_path / "mesh.yaml").hub.world.mesh.access_log_file == "/mine"
        assert built(own).hub.world.mesh.access_log_file == "/theirs"

    def test_errors_tell_their_place(self, tmp_path: Path) -> None:
        (tmp_path / "mesh.yaml").write_text("a: 1\noutboundTrafficPolicy:\n  mode: SOMETIMES\n")
        with pytest.raises(TidegateError, match=r"mesh\.yaml:3: outboundTrafficPolicy\.mode"):
            built(SERVICE, mesh_config=tmp_path / "mesh.yaml")


class TestVariables:
    def test_switches_reach_the_world(self) -> None:
        assert built(variables={"ISTIO_DUAL_STACK": "true"}).hub.world.features.dual_stack

    def test_a_switch_that_is_not_acted_on(self) -> None:
        assert "PILOT_X is not acted on" in built(variables={"PILOT_X": "1"}).findings[0].message

    def test_a_value_that_is_none(self) -> None:
        with pytest.raises(TidegateError, match="ISTIO_DUAL_STACK: must be true or false"):
            built(variables={"ISTIO_DUAL_STACK": "maybe"})


class TestMeshConfigurationFiles:
    @pytest.mark.parametrize("text", ["", "# nothing\n"])
    def test_an_empty_one_sets_nothing(self, tmp_path: Path, text: str) -> None:
        file = tmp_path / "mesh.yaml"
        file.write_text(text)
        assert built(SERVICE, mesh_config=file).findings == ()

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            (f"{SERVICE}\n---\n{POD}", "has 2 documents; a mesh configuration is one"),
            (SERVICE, "is a Service; must be a MeshConfig, or a ConfigMap with the key mesh"),
            ("[]", "must be a MeshConfig, or a ConfigMap with the key mesh"),
        ],
    )
    def test_what_is_none_is_refused(self, tmp_path: Path, text: str, told: str) -> None:
        file = tmp_path / "mesh.yaml"
        file.write_text(text)
        with pytest.raises(TidegateError, match=told):
            built(SERVICE, mesh_config=file)
