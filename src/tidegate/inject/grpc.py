"""The templates ``grpc-simple`` and ``grpc-agent``: gRPC applications that speak xDS themselves, without Envoy."""

from tidegate.inject import annotations, parts
from tidegate.inject.context import PROXY, Context
from tidegate.inject.settings import Json

_FOLDER = "grpc-io-proxyless-bootstrap"
_PATH = "/var/lib/grpc/data/"
_BOOTSTRAP = """\
NODE_ID="sidecar~${INSTANCE_IP}~${POD_NAME}.${POD_NAMESPACE}~cluster.local"
SERVER_URI="dns:///istiod.${ISTIO_NAMESPACE}.svc:15010"
echo '
{
  "xds_servers": [
    {
      "server_uri": "'${SERVER_URI}'",
      "channel_creds": [{"type": "insecure"}],
      "server_features" : ["xds_v3"]
    }
  ],
  "node": {
    "id": "'${NODE_ID}'",
    "metadata": {
      "GENERATOR": "grpc"
    }
  }
}' > /var/lib/grpc/data/bootstrap.json"""


_SHAPE = parts.Shape(data="istio-xds", envoy=False, crl=False)


def grpc_simple(context: Context) -> Json:
    """A bootstrap file, written once by an init container."""
    init = {
        "name": "grpc-bootstrap-init",
        "image": "busybox:1.28",
        "volumeMounts": [parts.mount(_FOLDER, _PATH)],
        "env": [
            parts.field("INSTANCE_IP", "status.podIP"),
            parts.field("POD_NAME", "metadata.name"),
            parts.field("POD_NAMESPACE", "metadata.namespace"),
            parts.variable("ISTIO_NAMESPACE", f"{context.value('global.istioNamespace')}\n"),
        ],
        "command": ["sh", "-c", _BOOTSTRAP],
    }
    variables = [
        parts.variable("GRPC_XDS_BOOTSTRAP", f"{_PATH}bootstrap.json"),
        parts.variable("GRPC_GO_LOG_VERBOSITY_LEVEL", "99"),
        parts.variable("GRPC_GO_LOG_SEVERITY_LEVEL", "info"),
    ]
    mounts = [parts.mount(_FOLDER, _PATH)]
    every = context.spec.get("containers") or ()
    containers = [{"name": each.get("name"), "env": variables, "volumeMounts": mounts} for each in every]
    spec = {
        "initContainers": [init],
        "containers": containers,
        "volumes": [{"name": _FOLDER, "emptyDir": {}}],
    }
    return {"metadata": {"annotations": {annotations.REWRITE: "false"}}, "spec": spec}


def grpc_agent(context: Context) -> Json:
    """An agent without Envoy that relays discovery and keeps certificates for the application."""
    variables = [
        parts.variable("GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT", "true"),
        parts.variable("GRPC_XDS_BOOTSTRAP", "/etc/istio/proxy/grpc-bootstrap.json"),
    ]
    mounts = [
        parts.mount("istio-data", "/var/lib/istio/data"),
        parts.mount("istio-xds", "/etc/istio/proxy"),
        parts.certificate_mount(context),
    ]
    applications = [{"name": a.get("name"), "env": variables, "volumeMounts": mounts} for a in context.applications]
    given = {
        annotations.REVISION: context.settings.revision,
        **parts.default_container(context),
        annotations.REWRITE: "false",
    }
    spec = {
        "containers": [_agent(context), *applications],
        "volumes": parts.shared_volumes(context, _SHAPE),
        **parts.pull_secrets(context),
    }
    return {"metadata": {"labels": parts.canonical_labels(context), "annotations": given}, "spec": spec}


def _agent(context: Context) -> Json:
    configuration, ports, applications = parts.pod_variables(context)
    port = int(context.agent_port)
    wait = ["pilot-agent", "wait", f"--url=http://localhost:{port}/healthz/ready"]
    return {
        "name": PROXY,
        "image": context.image(),
        "ports": [{"containerPort": port, "protocol": "TCP", "name": "mesh-metrics"}],
        "args": [*parts.domain_arguments(context, "sidecar"), *parts.log_arguments(context)],
        "lifecycle": {"postStart": {"exec": {"command": wait}}},
        "env": [
            parts.variable("ISTIO_META_GENERATOR", "grpc"),
            parts.variable("OUTPUT_CERTS", "/var/lib/istio/data"),
            *parts.localhost_variables(context),
            *parts.identity_variables(context),
            configuration,
            ports,
            applications,
            *parts.mesh_variables(context, mode="", name=context.workload.name, bootstrap=False),
            *parts.metadata_variables(context),
            parts.variable("ISTIO_META_DNS_CAPTURE", "false"),
            parts.variable("DISABLE_ENVOY", "true"),
        ],
        **parts.pull_policy(context),
        **({} if context.status_port == "0" else {"readinessProbe": parts.readiness_probe(context, port)}),
        "resources": parts.resources(context),
        "volumeMounts": parts.shared_mounts(context, _SHAPE),
    }
