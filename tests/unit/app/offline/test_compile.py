"""What one proxy would be sent, from manifests."""

import datetime
import json
from pathlib import Path

import pytest

from tests.unit.app.offline.test_world import DEPLOYMENT, ENTRY, POD, SERVICE, built
from tidegate.app.offline import proxyspec
from tidegate.app.offline.compile import compile_proxy, route_names
from tidegate.app.offline.proxyspec import ProxySpec
from tidegate.dump import commands
from tidegate.dump.read import parse
from tidegate.dump.whole import Filters
from tidegate.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tidegate.kit.errors import TidegateError

CLIENT = ProxySpec(name="client", namespace="shop", ip="10.1.0.99")
ENTRY_VM = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: shop}
spec: {address: 10.1.0.44, labels: {app: web}}
"""
BOOTSTRAP_PATCH = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: f, namespace: shop}
spec:
  configPatches:
  - {applyTo: BOOTSTRAP, patch: {operation: MERGE, value: {flagsPath: /patched}}}
"""
GATEWAY = POD.replace("name: app", "name: istio-proxy")


class TestCompile:
    def test_the_resources_of_a_pods_proxy(self) -> None:
        world = built(SERVICE, POD)
        compiled = compile_proxy(world, proxyspec.choose(world.hub.world, "web-0"))
        assert "outbound|80||web.shop.svc.cluster.local" in compiled.resources(CLUSTER)
        assert "inbound|8080||" in compiled.resources(CLUSTER)
        assert set(compiled.resources(LISTENER)) == {"0.0.0.0_80", "virtualInbound", "virtualOutbound"}

    def test_a_proxy_that_no_object_describes(self) -> None:
        world = built(SERVICE, POD)
        spec = ProxySpec(name="twin", namespace="shop", ip="10.1.0.98", labels={"app": "web"})
        assert "inbound|8080||" in compile_proxy(world, spec).resources(CLUSTER)
        assert [e.address for each in world.hub.world.endpoints.values() for e in each] == ["10.1.0.5"]

    def test_a_workload_entry_of_its_address(self) -> None:
        compiled = compile_proxy(built(SERVICE, ENTRY_VM), ProxySpec(name="any", namespace="shop", ip="10.1.0.44"))
        assert compiled.proxy.labels == (("app", "web"),)

    def test_what_the_specification_adds(self) -> None:
        spec = ProxySpec(name="c", ip="10.0.0.1", locality="eu/a/1", metadata={"INTERCEPTION_MODE": "NONE"})
        kind = compile_proxy(built(SERVICE), spec).proxy.kind
        assert (kind.locality, kind.interception.value, kind.dns_domain) == (
            "eu/a/1",
            "NONE",
            "default.svc.cluster.local",
        )

    def test_with_and_without_certificates(self) -> None:
        kinds = [compile_proxy(built(SERVICE), CLIENT, certificates=c).proxy.kind.mtls for c in (True, False)]
        assert kinds == [True, False]

    def test_origins_name_object_and_field(self) -> None:
        compiled = compile_proxy(built(SERVICE), CLIENT)
        found = compiled.origins(CLUSTER, "outbound|80||web.shop.svc.cluster.local")
        assert "Service/shop/web" in {str(each.ref) for each in found}
        assert compiled.origins(CLUSTER, "nothing") == ()

    def test_several_proxies_of_one_world(self) -> None:
        world = built(SERVICE, POD)
        names = [set(compile_proxy(world, CLIENT).resources(LISTENER)) for _ in range(2)]
        assert names[0] == names[1]


class TestDump:
    def test_it_reads_as_a_dump_of_envoy(self) -> None:
        read = parse(json.dumps(compile_proxy(built(SERVICE, POD), CLIENT).config_dump()).encode())
        assert {each.name for each in read.listeners()} >= {"virtualInbound", "virtualOutbound", "0.0.0.0_80"}
        assert "80" in {each["name"] for each in read.raw_routes()}
        assert read.endpoints()

    def test_it_has_every_part_that_is_asked_for(self) -> None:
        dump = json.dumps(compile_proxy(built(SERVICE, POD), CLIENT).config_dump()).encode()
        titles = [
            title for title, _ in commands.everything(dump, "short", Filters(), datetime.datetime.now(datetime.UTC))
        ]
        assert titles[-2:] == ["SECRET INFO", "ENDPOINTS INFO"]
        node = json.loads(commands.bootstrap(parse(dump), "json"))["bootstrap"]["node"]
        assert node == {"id": "sidecar~10.1.0.99~client.shop~shop.svc.cluster.local"}

    @pytest.mark.parametrize(("asks", "flags"), [("true", "/patched"), ("false", None)])
    def test_bootstrap_patches_of_a_proxy_that_asks_for_them(self, asks: str, flags: str | None) -> None:
        asking = f"""annotations: {{proxy.istio.io/config: 'proxyMetadata: {{BOOTSTRAP_XDS_AGENT: "{asks}"}}'}}"""
        world = built(SERVICE, POD.replace("labels:", f"{asking}, labels:"), BOOTSTRAP_PATCH)
        dump = compile_proxy(world, proxyspec.choose(world.hub.world, "web-0")).config_dump()
        found = json.loads(commands.bootstrap(parse(json.dumps(dump).encode()), "json"))["bootstrap"]
        assert found.get("flagsPath") == flags
        assert found["node"]["id"].startswith("sidecar~10.1.0.5~web-0")

    def test_every_route_that_a_listener_asks_for_is_there(self) -> None:
        dump = compile_proxy(built(SERVICE, ENTRY), CLIENT).config_dump()
        asked = set(route_names(dump))
        assert asked == {"80"} == {r["name"] for r in parse(json.dumps(dump).encode()).raw_routes()}

    def test_types(self) -> None:
        compiled = compile_proxy(built(SERVICE, POD), CLIENT)
        assert compiled.resources(ENDPOINT).keys() == {"outbound|80||web.shop.svc.cluster.local"}
        assert compiled.resources(ROUTE, iter(["80", "no-such"])).keys() == {"80", "no-such"}


class TestSpecification:
    def test_one_of_a_list(self, tmp_path: Path) -> None:
        file = tmp_path / "p.json"
        file.write_text('[{"name": "a", "ip": "10.0.0.1"}, {"name": "b", "clusterID": "c2"}]')
        assert proxyspec.read(file, "b.default").cluster_id == "c2"
        with pytest.raises(TidegateError, match=r"name one of: a\.default, b\.default"):
            proxyspec.read(file)
        with pytest.raises(TidegateError, match=r"describes no proxy z; it has: a\.default, b\.default"):
            proxyspec.read(file, "z")

    @pytest.mark.parametrize(
        "text", ["name: a\nlabels: {x: y}\n", "{name: a, labels: {x: y}}", "[{name: a, labels: {x: y}}]"]
    )
    def test_yaml(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "p.yaml").write_text(text)
        assert proxyspec.read(tmp_path / "p.yaml").labels == {"x": "y"}

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("name: a\nadress: 1.2.3.4\n", "unknown field `adress`"),
            ("[1]", "is no proxy specification"),
            ("{a", "neither"),
            ("[" * 100_000, "levels deep"),
        ],
    )
    def test_what_is_none(self, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "p.yaml").write_text(text)
        with pytest.raises(TidegateError, match=said):
            proxyspec.read(tmp_path / "p.yaml")


class TestChoice:
    def test_the_only_workload(self) -> None:
        assert proxyspec.choose(built(POD).hub.world, "").name == "web-0"

    def test_none(self) -> None:
        with pytest.raises(TidegateError, match="no Pod and no WorkloadEntry: describe the proxy with --proxy-spec"):
            proxyspec.choose(built(SERVICE).hub.world, "")

    def test_several_are_listed(self) -> None:
        world = built(POD, ENTRY_VM).hub.world
        with pytest.raises(TidegateError, match=r"2 workloads .* name one of: web-0.shop, vm.shop"):
            proxyspec.choose(world, "")
        with pytest.raises(TidegateError, match=r"is named web-9; there are: web-0.shop, vm.shop"):
            proxyspec.choose(world, "web-9")

    @pytest.mark.parametrize(
        ("pod", "type_"),
        [
            (POD, "sidecar"),
            (POD.replace("metadata: {", "metadata: {annotations: {inject.istio.io/templates: gateway}, "), "router"),
            (GATEWAY, "router"),
        ],
    )
    def test_a_pod_with_nothing_but_a_proxy_is_a_gateway(self, pod: str, type_: str) -> None:
        assert proxyspec.choose(built(pod).hub.world, "").type == type_

    def test_any_pod_of_a_deployment(self) -> None:
        world = built(DEPLOYMENT).hub.world
        assert proxyspec.choose(world, "web.shop").addresses == ("198.18.0.1",)
        assert proxyspec.choose(world, "web").name.startswith("web-")

    def test_of_a_pod_without_a_status(self) -> None:
        written = POD.partition("status:")[0]
        assert proxyspec.choose(built(written).hub.world, "web-0").addresses == ("198.18.0.1",)
