import pytest
import yaml
from click.testing import CliRunner

from tests.certificates import Authority
from tidegate.api.kinds import KINDS
from tidegate.app.discovery.statuses import WRITTEN
from tidegate.app.installation import CERTIFICATE, NAME, Wanted, manifests, role
from tidegate.cli.main import cli
from tidegate.snapshot.world import WATCHED

WANTED = Wanted(image="localhost/mesh:1", definitions=False)


def found(kind, wanted=WANTED):
    return [each for each in manifests(wanted) if each["kind"] == kind]


def allowed():
    """(group, resource, verb) of the role."""
    return {
        (group, resource, verb)
        for rule in role(WANTED)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("kind", WATCHED)
def test_what_discovery_follows_may_be_listed_and_watched(kind):
    group, plural = KINDS[kind].group, KINDS[kind].plural
    assert {(group, plural, "list"), (group, plural, "watch")} <= allowed()
    assert ((group, f"{plural}/status", "update") in allowed()) is (kind in WRITTEN)


def test_nothing_else_is_allowed():
    assert {verb for _, _, verb in allowed()} == {"list", "watch", "get", "update", "create"}
    assert {each for each in allowed() if each[2] == "create"} == {("authentication.k8s.io", "tokenreviews", "create")}
    assert all(resource.endswith("/status") for _, resource, verb in allowed() if verb == "update")
    assert not any(group == "" for group, _, verb in allowed() if verb == "get")


def test_the_kinds_are_defined_unless_they_are_there():
    assert found("CustomResourceDefinition") == []
    defined = found("CustomResourceDefinition", Wanted(image="localhost/mesh:1"))
    assert {each["spec"]["names"]["kind"] for each in defined} >= {"ServiceEntry", "VirtualService", "Sidecar"}


def test_service_and_deployment_fit_together():
    (deployment,), (service,) = found("Deployment"), found("Service")
    pod = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    listened = {port["containerPort"] for each in pod["spec"]["containers"] for port in each["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == listened
    assert pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    assert {each["image"] for each in pod["spec"]["containers"]} == {"localhost/mesh:1"}
    volumes = {each["name"] for each in pod["spec"]["volumes"]}
    assert {mount["name"] for each in pod["spec"]["containers"] for mount in each["volumeMounts"]} <= volumes
    assert {"name": "tls", "secret": {"secretName": CERTIFICATE}} in pod["spec"]["volumes"]


def test_the_mesh_configuration_is_followed_by_pods_that_stay():
    def made(mesh):
        return found("Deployment", Wanted(image="localhost/mesh:1", definitions=False, mesh=mesh))

    assert made("{}\n") == made("enableTracing: true\n")


def test_the_webhook_is_registered_with_its_root_and_not_without():
    assert found("MutatingWebhookConfiguration") == []
    roots = Authority().roots
    (webhook,) = found("MutatingWebhookConfiguration", Wanted(image="i", definitions=False, roots=roots))
    services = {each["clientConfig"]["service"]["name"] for each in webhook["webhooks"]}
    assert services == {NAME}


def test_the_command_prints_it(tmp_path):
    (tmp_path / "ca.crt").write_bytes(Authority().roots)
    (tmp_path / "mesh.yaml").write_text("outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n")
    options = ["--no-crds", "--ca", str(tmp_path / "ca.crt"), "--mesh-config", str(tmp_path / "mesh.yaml")]
    done = CliRunner().invoke(cli, ["manifest", *options], catch_exceptions=False)
    printed = list(yaml.safe_load_all(done.output))
    (mesh,) = (each for each in printed if each["kind"] == "ConfigMap" and each["metadata"]["name"] == "istio")
    assert yaml.safe_load(mesh["data"]["mesh"]) == {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
    assert printed[-1]["kind"] == "MutatingWebhookConfiguration"


def test_what_is_no_certificate_is_refused(tmp_path):
    (tmp_path / "ca.crt").write_text("nothing")
    done = CliRunner().invoke(cli, ["manifest", "--ca", str(tmp_path / "ca.crt")])
    assert done.exit_code == 2 and "expected a certificate in PEM" in done.output
