"""Who a proxy runs as, from which image, and in which order with other containers."""

import re

import pytest

from tests.unit.inject.pods import container, injected, names, pod, variables
from tidegate.inject.context import Place
from tidegate.inject.errors import InjectionError
from tidegate.inject.settings import Json, settings

APP = {"name": "app", "image": "app"}
CNI = {"pilot": {"cni": {"enabled": True}}}
OPENSHIFT = {"openshift.io/sa.scc.uid-range": "1000/100"}


def proxy(**security: int) -> Json:
    return {"name": "istio-proxy", "image": "auto", **({"securityContext": security} if security else {})}


def exempt(made: Json, name: str = "istio-init") -> str:
    """The user whose traffic the rules leave alone."""
    given = container(made, name)["args"]
    return str(given[given.index("-u") + 1])


def ids(made: Json, name: str) -> tuple[int, int]:
    security = container(made, name)["securityContext"]
    return security["runAsUser"], security["runAsGroup"]


# Users


def test_the_rules_leave_the_authors_own_user_alone() -> None:
    made = injected(pod(None, APP, proxy(runAsUser=1500))).pod
    assert (exempt(made), ids(made, "istio-proxy")) == ("1500", (1500, 1337))


def test_the_check_of_a_network_plugins_rules_runs_as_the_proxy() -> None:
    made = injected(pod(None, APP, proxy(runAsUser=1500, runAsGroup=1600)), settings(CNI)).pod
    assert (exempt(made, "istio-validation"), ids(made, "istio-validation")) == ("1500", (1500, 1600))


def test_root_cannot_be_left_alone() -> None:
    made = injected(pod(None, APP, proxy(runAsUser=0))).pod
    assert (exempt(made), ids(made, "istio-proxy")) == ("1337", (0, 1337))


def test_an_own_template_leaves_the_authors_own_user_alone_too() -> None:
    text = (
        "spec: {initContainers: [{name: istio-init, args: [-u, '{{ .ProxyUID }}']}], containers: [{name: istio-proxy}]}"
    )
    values = {"sidecarInjectorWebhook": {"templates": {"sidecar": text}}}
    made = injected(pod(None, APP, proxy(runAsUser=1500)), settings(values)).pod
    assert exempt(made) == "1500"


@pytest.mark.parametrize(
    ("annotations", "user", "group"),
    [
        (OPENSHIFT, 1099, 1099),
        ({**OPENSHIFT, "openshift.io/sa.scc.supplemental-groups": "2000-2009,1/2"}, 1099, 2009),
        ({"openshift.io/sa.scc.supplemental-groups": "2000/10"}, 1337, 2009),
        ({"openshift.io/sa.scc.uid-range": "none"}, 1337, 1337),
        ({}, 1337, 1337),
    ],
)
def test_openshift_gives_the_last_ids_of_the_namespace(annotations: dict[str, str], user: int, group: int) -> None:
    made = injected(pod(), settings(platform="openshift"), Place(namespace_annotations=annotations)).pod
    assert ids(made, "istio-proxy") == (user, group)
    assert exempt(made) == str(user)


def test_ids_that_openshift_wrote_into_every_container_are_nobodys_choice() -> None:
    app = APP | {"securityContext": {"runAsUser": 1000}}
    place = Place(namespace_annotations=OPENSHIFT)
    made = injected(pod(None, app, proxy(runAsUser=1000)), settings(platform="openshift"), place).pod
    assert (exempt(made), ids(made, "istio-proxy")) == ("1099", (1099, 1099))
    chosen = injected(pod(None, app, proxy(runAsUser=1500)), settings(platform="openshift"), place).pod
    assert (exempt(chosen), ids(chosen, "istio-proxy")) == ("1500", (1500, 1099))


# Images


@pytest.mark.parametrize(
    ("annotations", "values", "image", "init"),
    [
        ({}, {}, "r/proxyv2:1", "r/proxyv2:1"),
        ({"sidecar.istio.io/proxyImage": "x/own:2"}, {}, "x/own:2", "x/own:2"),
        ({"sidecar.istio.io/proxyImage": "own"}, {}, "r/proxyv2:1", "r/proxyv2:1"),
        ({}, {"variant": "debug"}, "r/proxyv2:1-debug", "r/proxyv2:1-debug"),
        ({}, {"variant": "debug", "tag": "1-distroless"}, "r/proxyv2:1-debug", "r/proxyv2:1-debug"),
        ({"sidecar.istio.io/proxyImageType": "default"}, {"tag": "1-debug"}, "r/proxyv2:1", "r/proxyv2:1"),
        ({"proxy.istio.io/config": "image: {imageType: debug}"}, {}, "r/proxyv2:1-debug", "r/proxyv2:1"),
        ({}, {"proxy": {"image": "p"}, "proxy_init": {"image": "i"}}, "r/p:1", "r/i:1"),
    ],
)
def test_images(annotations: Json, values: Json, image: str, init: str) -> None:
    made = injected(pod(annotations), settings({"global": {"hub": "r", "tag": "1", **values}})).pod
    assert (container(made, "istio-proxy")["image"], container(made, "istio-init")["image"]) == (image, init)


def test_an_image_without_a_registry_is_told_to_do_nothing() -> None:
    (said,) = injected(pod({"sidecar.istio.io/proxyImage": "own"})).warnings
    assert "'own' says no registry" in said


# Order


def test_core_dumps_are_switched_on_between_the_proxy_and_others() -> None:
    others = [{"name": "setup", "image": "s"}, {"name": "enable-core-dump", "image": "c"}]
    native = injected(pod(None, initContainers=others)).pod
    assert names(native, "initContainers") == ["istio-init", "istio-proxy", "enable-core-dump", "setup"]
    classic = injected(pod(None, initContainers=others), settings(native=False)).pod
    assert names(classic, "initContainers") == ["setup", "istio-init", "enable-core-dump"]


# Environment


def test_cluster_and_network_stand_at_the_end_and_win_over_the_templates() -> None:
    place = Place(cluster="east", network="one", variables={"ZONE": "a"})
    values = {"global": {"multiCluster": {"clusterName": "west"}, "network": "two"}}
    made = injected(pod({"prometheus.io/port": "9102"}), settings(values), place).pod
    found = [each["name"] for each in container(made, "istio-proxy")["env"]]
    assert found[-4:] == ["ISTIO_META_CLUSTER_ID", "ISTIO_META_NETWORK", "ZONE", "ISTIO_PROMETHEUS_ANNOTATIONS"]
    assert len(found) == len(set(found))
    told = variables(made)
    assert (told["ISTIO_META_CLUSTER_ID"], told["ISTIO_META_NETWORK"], told["ZONE"]) == ("east", "one", "a")
    assert made["metadata"]["labels"]["topology.istio.io/network"] == "one"


def test_a_pods_own_network_wins() -> None:
    given = pod()
    given["metadata"]["labels"]["topology.istio.io/network"] = "own"
    made = injected(given, place=Place(network="one")).pod
    assert variables(made)["ISTIO_META_NETWORK"] == made["metadata"]["labels"]["topology.istio.io/network"] == "own"


def test_a_compliance_policy_reaches_programs_in_go() -> None:
    told = variables(injected(pod(), settings(compliance_policy="fips-140-3")).pod)
    assert (told["COMPLIANCE_POLICY"], told["GODEBUG"]) == ("fips-140-3", "fips140=only")
    assert "GODEBUG" not in variables(injected(pod(), settings(compliance_policy="fips-140-2")).pod)


def test_spans_name_the_namespace_where_the_pod_runs() -> None:
    enriched = {"service": "s", "port": 1, "serviceAttributeEnrichment": "OTEL_SEMANTIC_CONVENTIONS"}
    mesh = {"extensionProviders": [{"name": "o", "opentelemetry": enriched}]}
    told = variables(injected(pod(), settings({}, mesh)).pod)
    assert told["OTEL_RESOURCE_ATTRIBUTES"] == "service.namespace=shop,service.instance.id=shop.$(POD_NAME).app"
    gateway = injected(pod({"inject.istio.io/templates": "gateway"}), settings({}, mesh)).pod
    assert "OTEL_RESOURCE_ATTRIBUTES" not in variables(gateway)


# ProxyConfig


@pytest.mark.parametrize(
    ("mesh", "own", "told"),
    [
        ({}, "interceptionMode: REDIRECT", "{}"),
        ({}, "concurrency: 0", '{"concurrency":0}'),
        ({"proxyMetadata": {"A": "1"}}, "proxyMetadata: {B: '2'}", '{"proxyMetadata":{"A":"1","B":"2"}}'),
        ({"image": {"imageType": "debug"}}, "image: {}", '{"image":{}}'),
        ({}, "drainDuration: 45s", "{}"),
    ],
)
def test_a_pods_proxy_config_is_told_as_far_as_it_is_no_default(mesh: Json, own: str, told: str) -> None:
    made = injected(pod({"proxy.istio.io/config": own}), settings({}, {"defaultConfig": mesh})).pod
    assert variables(made)["PROXY_CONFIG"] == f"{told}\n"


# A network plugin


def test_a_network_plugin_is_told_what_it_would_not_do_unasked() -> None:
    given = {"traffic.sidecar.istio.io/includeInboundPorts": "", "traffic.sidecar.istio.io/excludeOutboundPorts": ""}
    made = injected(pod(given), settings(CNI)).pod["metadata"]["annotations"]
    prefix = "traffic.sidecar.istio.io/"
    assert {name.removeprefix(prefix): value for name, value in made.items() if name.startswith(prefix)} == {
        "includeOutboundIPRanges": "*",
        "includeInboundPorts": "",
        "excludeInboundPorts": "15020",
        "excludeOutboundPorts": "",
    }


# Further templates


def test_a_gateway_goes_by_the_installations_probes_and_its_own_name() -> None:
    given = pod({"inject.istio.io/templates": "gateway", "readiness.status.sidecar.istio.io/periodSeconds": "3"})
    given["metadata"]["labels"]["service.istio.io/workload-name"] = "other"
    made = injected(given, settings({"global": {"proxy": {"outlierLogPath": "/x"}}})).pod
    assert container(made, "istio-proxy")["readinessProbe"]["periodSeconds"] == 15
    assert variables(made)["ISTIO_META_WORKLOAD_NAME"] == "web"
    assert "--outlierLogPath=/x" not in container(made, "istio-proxy")["args"]


@pytest.mark.parametrize("name", ["grpc-agent", "grpc-simple"])
def test_templates_without_envoy_are_told_to_be_istios(name: str) -> None:
    warned = injected(pod({"inject.istio.io/templates": name})).warnings
    assert any(f"template {name}: it is for Istio's agent" in each for each in warned)


def test_without_a_status_port_an_agent_without_envoy_is_not_asked() -> None:
    given = {"inject.istio.io/templates": "grpc-agent", "status.sidecar.istio.io/port": "0"}
    made = container(injected(pod(given)).pod, "istio-proxy")
    assert "readinessProbe" not in made
    assert made["volumeMounts"]


def test_lightsteps_roots_are_mounted() -> None:
    config = {"proxy.istio.io/config": "tracing: {tlsSettings: {mode: SIMPLE, caCertificates: /etc/roots/ca.pem}}"}
    made = injected(pod(config), settings({"global": {"proxy": {"tracer": "lightstep"}}})).pod
    mounts = {each["name"]: each["mountPath"] for each in container(made, "istio-proxy")["volumeMounts"]}
    assert mounts["lightstep-certs"] == "/etc/roots/"
    assert "lightstep-certs" in names(made, "volumes")


# What an author is told


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (pod(None, dnsPolicy="Default"), "spec.dnsPolicy: Default: "),
        (pod({"sidecar.istio.io/inject": "yes"}), "'yes' decides nothing"),
        (
            pod(None, APP | {"livenessProbe": {"httpGet": {"port": "web"}}}),
            "spec.containers[0].livenessProbe.httpGet.port: the container has no port named 'web'",
        ),
        (
            pod(None, APP | {"lifecycle": {"preStop": {"tcpSocket": {"port": "web"}}}}),
            "spec.containers[0].lifecycle.preStop.tcpSocket.port",
        ),
    ],
)
def test_what_will_not_work_is_told(given: Json, said: str) -> None:
    assert any(said in each for each in injected(given).warnings)


def test_a_probe_of_an_unknown_port_is_led_to_the_agent_which_is_told_nothing() -> None:
    made = injected(pod(None, APP | {"livenessProbe": {"httpGet": {"port": "web"}}})).pod
    assert container(made, "app")["livenessProbe"]["httpGet"] == {"path": "/app-health/app/livez", "port": 15020}
    assert "ISTIO_KUBE_APP_PROBERS" not in variables(made)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (pod(None, securityContext=5), "spec.securityContext: expected a mapping"),
        (pod(None, APP | {"args": 5}), "spec.containers[0].args: expected a list"),
        (
            pod(None, APP | {"securityContext": {"runAsUser": "a"}}),
            "securityContext.runAsUser: expected a whole number",
        ),
    ],
)
def test_what_has_not_the_shape_of_a_pod_is_refused(given: Json, said: str) -> None:
    with pytest.raises(InjectionError, match=re.escape(said)):
        injected(given)
