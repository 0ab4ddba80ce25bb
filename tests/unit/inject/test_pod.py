"""Pod in, pod with its sidecar out."""

import json

import pytest

from tests.unit.inject.pods import container, injected, names, pod, variables
from tidegate.inject.context import Place
from tidegate.inject.errors import InjectionError
from tidegate.inject.settings import Json, settings
from tidegate.rules.options import CaptureOptions, check


def test_a_native_sidecar_comes_after_its_rules_and_before_other_init_containers() -> None:
    made = injected(pod(None, initContainers=[{"name": "setup", "image": "setup"}])).pod
    assert names(made, "initContainers") == ["istio-init", "istio-proxy", "setup"]
    assert container(made, "istio-proxy")["restartPolicy"] == "Always"
    assert names(made, "containers") == ["app"]


def test_a_classic_sidecar_comes_last_and_its_rules_after_other_init_containers() -> None:
    made = injected(pod(None, initContainers=[{"name": "setup", "image": "setup"}]), settings(native=False)).pod
    assert names(made, "initContainers") == ["setup", "istio-init"]
    assert names(made, "containers") == ["app", "istio-proxy"]


def test_a_classic_sidecar_that_the_application_waits_for_comes_first() -> None:
    given = pod({"proxy.istio.io/config": "holdApplicationUntilProxyStarts: true"})
    made = injected(given, settings(native=False)).pod
    assert names(made, "containers") == ["istio-proxy", "app"]
    assert container(made, "istio-proxy")["lifecycle"]["postStart"]["exec"]["command"] == ["pilot-agent", "wait"]


def test_a_pod_decides_for_itself_what_kind_of_sidecar_it_has() -> None:
    made = injected(pod({"sidecar.istio.io/nativeSidecar": "false"})).pod
    assert names(made, "containers") == ["app", "istio-proxy"]


def test_with_a_network_plugin_nothing_needs_privileges() -> None:
    made = injected(pod(), settings({"pilot": {"cni": {"enabled": True}}})).pod
    check_only = container(made, "istio-validation")
    assert check_only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert check_only["args"][-2:] == ["--run-validation", "--skip-rule-apply"]
    assert made["metadata"]["annotations"]["traffic.sidecar.istio.io/includeOutboundIPRanges"] == "*"


def test_tproxy_runs_as_root_with_net_admin() -> None:
    made = injected(pod({"sidecar.istio.io/interceptionMode": "TPROXY"})).pod
    security = container(made, "istio-proxy")["securityContext"]
    assert (security["runAsUser"], security["capabilities"]["add"]) == (0, ["NET_ADMIN"])


def test_without_interception_there_is_no_init_container() -> None:
    made = injected(pod({"sidecar.istio.io/interceptionMode": "NONE"}), settings(native=False)).pod
    assert names(made, "initContainers") == []


def test_the_rules_arguments_are_ones_that_tidegate_iptables_takes() -> None:
    given = {
        "traffic.sidecar.istio.io/excludeOutboundPorts": "3306",
        "traffic.sidecar.istio.io/excludeInboundPorts": "22",
    }
    arguments = container(injected(pod(given)).pod, "istio-init")["args"]
    flags = dict(zip(arguments[1:-1:2], arguments[2:-1:2], strict=True))
    assert flags["-d"] == "15090,15021,22,15020"
    assert flags["-o"] == "3306"
    check(
        CaptureOptions(local_exclude_ports=tuple(flags["-d"].split(",")), local_outbound_ports_exclude=(flags["-o"],))
    )


@pytest.mark.parametrize("kind", ["httpGet", "tcpSocket", "grpc"])
def test_probes_of_each_kind_are_led_to_the_agent(kind: str) -> None:
    own = {kind: {"port": 8080}, "periodSeconds": 7, "timeoutSeconds": 3}
    made = injected(pod(None, {"name": "app", "image": "app", "readinessProbe": own})).pod
    probe = container(made, "app")["readinessProbe"]
    assert probe == {
        "httpGet": {"path": "/app-health/app/readyz", "port": 15020},
        "periodSeconds": 7,
        "timeoutSeconds": 3,
    }
    told = json.loads(variables(made)["ISTIO_KUBE_APP_PROBERS"])
    assert told == {"/app-health/app/readyz": {kind: {"port": 8080}, "timeoutSeconds": 3}}


def test_a_named_port_is_told_by_its_number_and_https_is_asked_by_the_agent() -> None:
    ports = [{"name": "health", "containerPort": 9000}]
    own = {"httpGet": {"port": "health", "scheme": "HTTPS", "path": "/ok"}}
    made = injected(pod(None, {"name": "app", "image": "app", "ports": ports, "livenessProbe": own})).pod
    assert container(made, "app")["livenessProbe"]["httpGet"]["scheme"] == "HTTP"
    told = json.loads(variables(made)["ISTIO_KUBE_APP_PROBERS"])["/app-health/app/livez"]["httpGet"]
    assert told == {"port": 9000, "scheme": "HTTPS", "path": "/ok"}


def test_probes_stay_where_the_pod_wants_it_so() -> None:
    own = {"httpGet": {"port": 8080}}
    given = pod(
        {"sidecar.istio.io/rewriteAppHTTPProbers": "false"}, {"name": "app", "image": "app", "livenessProbe": own}
    )
    assert container(injected(given).pod, "app")["livenessProbe"] == own


def test_scrapes_go_to_the_agent_which_is_told_the_applications() -> None:
    given = {"prometheus.io/scrape": "true", "prometheus.io/port": "9100", "prometheus.io/path": "/m"}
    made = injected(pod(given)).pod
    told = json.loads(variables(made)["ISTIO_PROMETHEUS_ANNOTATIONS"])
    assert told == {"scrape": "true", "port": "9100", "path": "/m"}
    assert made["metadata"]["annotations"]["prometheus.io/port"] == "15020"


def test_a_pod_that_is_not_to_be_scraped_is_not() -> None:
    made = injected(pod({"prometheus.io/scrape": "false"})).pod
    assert "prometheus.io/port" not in made["metadata"]["annotations"]


def test_the_users_own_proxy_container_wins_and_is_remembered() -> None:
    own = {
        "name": "istio-proxy",
        "image": "auto",
        "resources": {"limits": {"cpu": "3"}},
        "env": [{"name": "A", "value": "1"}],
    }
    made = injected(pod(None, {"name": "app", "image": "app"}, own)).pod
    proxy = container(made, "istio-proxy")
    assert proxy["resources"]["limits"]["cpu"] == "3"
    assert proxy["image"].endswith("/proxyv2:" + proxy["image"].rpartition(":")[2])
    assert variables(made)["A"] == "1"
    overrides = json.loads(made["metadata"]["annotations"]["proxy.istio.io/overrides"])
    assert overrides["initContainers"][0]["name"] == "istio-proxy"


@pytest.mark.parametrize("native", [True, False])
def test_what_has_its_sidecar_comes_out_as_it_went_in(native: bool) -> None:
    own = {"name": "istio-proxy", "image": "auto", "securityContext": {"runAsUser": 1234}}
    app = {"name": "app", "image": "app", "livenessProbe": {"tcpSocket": {"port": 1}}}
    given = pod({"prometheus.io/scrape": "true", "prometheus.istio.io/scrape-targets": "8080:/m"}, app, own)
    once = injected(given, settings(native=native)).pod
    assert injected(once, settings(native=native)).pod == once
    assert once != given


def test_what_others_changed_in_the_sidecar_since_stays() -> None:
    once = injected(pod()).pod
    container(once, "istio-proxy")["env"].append({"name": "ADDED", "value": "later"})
    assert variables(injected(once).pod)["ADDED"] == "later"


def test_the_input_is_not_changed() -> None:
    given = pod(
        {"prometheus.io/scrape": "true"}, {"name": "app", "image": "app", "livenessProbe": {"httpGet": {"port": 1}}}
    )
    before = json.dumps(given)
    injected(given)
    assert json.dumps(given) == before


def test_a_webhooks_path_names_cluster_and_network() -> None:
    made = injected(pod(), place=Place(cluster="east", network="one")).pod
    assert (variables(made)["ISTIO_META_CLUSTER_ID"], variables(made)["ISTIO_META_NETWORK"]) == ("east", "one")
    assert made["metadata"]["labels"]["topology.istio.io/network"] == "one"


def test_annotations_of_resources_replace_the_default_whole() -> None:
    made = injected(pod({"sidecar.istio.io/proxyCPU": "50m"})).pod
    assert container(made, "istio-proxy")["resources"] == {"requests": {"cpu": "50m"}}


def test_volumes_and_mounts_of_the_user() -> None:
    given = pod(
        {
            "sidecar.istio.io/userVolume": '[{"name": "extra", "emptyDir": {}}]',
            "sidecar.istio.io/userVolumeMount": '{"extra": {"mountPath": "/extra"}}',
        }
    )
    made = injected(given).pod
    assert {"name": "extra", "emptyDir": {}} in made["spec"]["volumes"]
    assert {"name": "extra", "mountPath": "/extra"} in container(made, "istio-proxy")["volumeMounts"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("traffic.sidecar.istio.io/excludeOutboundIPRanges", "*", "expected CIDRs"),
        ("traffic.sidecar.istio.io/includeInboundPorts", "80,http", "'http' is none"),
        ("traffic.sidecar.istio.io/excludeInboundPorts", "70000", "expected ports from 1 to 65535"),
        ("sidecar.istio.io/interceptionMode", "BOTH", "expected REDIRECT, TPROXY or NONE"),
        ("sidecar.istio.io/proxyCPU", "lots", "expected a Kubernetes quantity"),
        ("sidecar.istio.io/nativeSidecar", "maybe", 'expected "true" or "false"'),
        ("sidecar.istio.io/userVolume", "{", "expected JSON"),
        ("prometheus.istio.io/scrape-targets", "15020:/m", "the proxy's own"),
        ("inject.istio.io/templates", "sidecart", "no such template"),
        ("proxy.istio.io/config", "concurrency: many", "concurrency"),
        ("proxy.istio.io/config", "{", "metadata.annotations[proxy.istio.io/config]"),
    ],
)
def test_a_bad_value_is_refused_with_its_name(name: str, value: str, expected: str) -> None:
    with pytest.raises(InjectionError) as refused:
        injected(pod({name: value}))
    assert name in str(refused.value)
    assert expected in str(refused.value)


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(InjectionError) as refused:
        injected(pod({"sidecar.istio.io/proxyCPU": "lots", "sidecar.istio.io/interceptionMode": "BOTH"}))
    assert len(refused.value.errors) == 2


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "traffic.sidecar.istio.io/excludeOutboundIPRange",
            "10.0.0.0/8",
            "did you mean traffic.sidecar.istio.io/excludeOutboundIPRanges?",
        ),
        ("sidecar.istio.io/proxyCpu", "1", "did you mean sidecar.istio.io/proxyCPU?"),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges", "", "nothing that the pod sends goes through the sidecar"),
    ],
)
def test_what_is_likely_meant_otherwise_is_warned_of(name: str, value: str, expected: str) -> None:
    assert any(expected in text for text in injected(pod({name: value})).warnings)


def test_names_that_others_read_are_no_matter() -> None:
    given = {"prometheus.io/scrape": "true", "example.com/x": "y", "sidecar.istio.io/logLevel": "debug"}
    assert injected(pod(given)).warnings == ()


@pytest.mark.parametrize(
    "broken",
    [
        {"metadata": [], "spec": {"containers": []}},
        {"metadata": {"annotations": {"a": 1}}, "spec": {}},
        {"spec": {"containers": ["app"]}},
        {"spec": {"containers": [{"name": "app", "env": {}}]}},
        {"spec": {"containers": [{"name": "app", "readinessProbe": {"httpGet": 80}}]}},
        {"spec": None},
    ],
)
def test_what_is_no_pod_is_refused_in_words(broken: Json) -> None:
    with pytest.raises(InjectionError, match="expected"):
        injected(broken)
