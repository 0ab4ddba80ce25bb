"""The store's picture of a lab: Namespaces, ServiceAccounts, a Node and a Pod for each workload. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tidegate.lab.plan import Member, Plan
from tidegate.lab.spec import Sidecar, Workload

Json = dict[str, Any]

CAPTURE_PREFIX = "traffic.sidecar.istio.io/"
INTERCEPTION = "sidecar.istio.io/interceptionMode"
APP, PROXY = "app", "istio-proxy"
PROXY_CONTAINER: Json = {
    "name": PROXY,
    "image": "lab",
    "ports": [{"name": "http-envoy-prom", "containerPort": 15090, "protocol": "TCP"}],
}


def node_name(plan: Plan) -> str:
    return f"lab-{plan.spec.name}"


def surroundings(plan: Plan) -> list[Json]:
    """What must be there before the Pods: Namespaces, ServiceAccounts, the Node."""
    namespaces = sorted({workload.namespace for workload, _ in plan.workloads} | {"istio-system"})
    accounts = sorted({(workload.namespace, workload.service_account) for workload, _ in plan.workloads})
    return [
        *(_object("v1", "Namespace", name) for name in namespaces),
        *(_object("v1", "ServiceAccount", name, namespace) for namespace, name in accounts),
        _object("v1", "Node", node_name(plan)),
    ]


def _object(api_version: str, kind: str, name: str, namespace: str = "") -> Json:
    meta = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta}


def node_status(plan: Plan) -> Json:
    return {
        "addresses": [{"type": "InternalIP", "address": plan.gateway}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "LabIsUp"}],
    }


def pod(plan: Plan, workload: Workload) -> Json:
    """The Pod as its creator would write it; its status follows when it runs."""
    found = _object("v1", "Pod", workload.name, workload.namespace)
    found["metadata"]["labels"] = dict(workload.labels)
    found["metadata"]["annotations"] = annotations(workload)
    containers: list[Json] = []
    if not workload.is_gateway:
        containers.append({"name": APP, "image": "lab", "command": list(workload.command), "ports": _ports(workload)})
    if workload.proxied:
        containers.append({**PROXY_CONTAINER, "ports": [*PROXY_CONTAINER["ports"], *_gateway_ports(workload)]})
    found["spec"] = {
        "nodeName": node_name(plan),
        "serviceAccountName": workload.service_account,
        "terminationGracePeriodSeconds": 0,
        "containers": containers,
    }
    if workload.host_aliases:
        found["spec"]["hostAliases"] = [{"ip": a.ip, "hostnames": list(a.hostnames)} for a in workload.host_aliases]
    return found


def _gateway_ports(workload: Workload) -> list[Json]:
    return _ports(workload) if workload.is_gateway else []


def main_container(workload: Workload) -> str:
    """The container by which the Pod is ready or not."""
    return PROXY if workload.is_gateway else APP


def _ports(workload: Workload) -> list[Json]:
    return [
        {"containerPort": port.container_port, "protocol": port.protocol, **({"name": port.name} if port.name else {})}
        for port in workload.ports
    ]


def annotations(workload: Workload) -> dict[str, str]:
    """The workload's own, and Istio's for those capture settings that are not the default."""
    found = dict(workload.annotations)
    if workload.capture is not None:
        for name, value in _capture_fields(workload.capture).items():
            if value != _capture_fields(Sidecar())[name]:
                found[CAPTURE_PREFIX + name] = value
        if workload.capture.interception_mode != Sidecar().interception_mode:
            found[INTERCEPTION] = workload.capture.interception_mode
    return found


def _capture_fields(sidecar: Sidecar) -> dict[str, str]:
    return {
        "includeOutboundIPRanges": sidecar.include_outbound_ip_ranges,
        "excludeOutboundIPRanges": sidecar.exclude_outbound_ip_ranges,
        "includeInboundPorts": sidecar.include_inbound_ports,
        "excludeInboundPorts": sidecar.exclude_inbound_ports,
        "includeOutboundPorts": sidecar.include_outbound_ports,
        "excludeOutboundPorts": sidecar.exclude_outbound_ports,
    }


class Life(msgspec.Struct, frozen=True):
    """What became of a container's program."""

    restarts: int = 0
    ended: bool = False
    code: int | None = None
    """Of the last end, where it is known."""
    waiting: str = ""
    """Why it does not run at the moment, in one word; "" when it does, or has ended for good."""
    message: str = ""


NEW: Mapping[str, Life] = {}


def pod_status(plan: Plan, member: Member, workload: Workload, *, ready: bool, lives: Mapping[str, Life] = NEW) -> Json:
    """Running; Ready once the sidecar and the program's ports are there. ``lives`` are by container."""
    truth = "True" if ready else "False"
    main = main_container(workload)
    containers = [main, PROXY] if workload.capture is not None else [main]
    return {
        "phase": _phase(lives.get(main, Life())),
        "podIP": member.address,
        "podIPs": [{"ip": member.address}],
        "hostIP": plan.gateway,
        "conditions": [{"type": kind, "status": truth} for kind in ("Initialized", "ContainersReady", "Ready")],
        "containerStatuses": [
            # The proxy is there before the program, and stays when that ends.
            _container(name, ready or (name == PROXY != main and main in lives), lives.get(name, Life()))
            for name in containers
        ],
    }


def _phase(app: Life) -> str:
    if app.waiting or not app.ended:
        return "Running"
    return "Succeeded" if app.code == 0 else "Failed"


def _container(name: str, ready: bool, life: Life) -> Json:
    runs = not life.waiting and not life.ended
    return {
        "name": name,
        "ready": runs and ready,
        "restartCount": life.restarts,
        "image": "lab",
        "imageID": "",
        "started": runs and ready,
        **container_state(life),
    }


def container_state(life: Life) -> Json:
    """``state`` and ``lastState`` of a container status."""
    terminated: Json = {"exitCode": life.code, "reason": "Completed" if life.code == 0 else "Error"}
    if life.code is None:  # as kubelets tell what they have not seen
        terminated = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": "its exit code was not seen"}
    if life.waiting:
        state: Json = {"waiting": {"reason": life.waiting, "message": life.message}}
    else:
        state = {"terminated": terminated} if life.ended else {"running": {}}
    return {"state": state, "lastState": {"terminated": terminated} if life.restarts else {}}


def capture_arguments(sidecar: Sidecar, *, dns: bool = False) -> list[str]:
    """Options of ``tidegate iptables``, as Istio's injector sets them from the annotations; ``dns``: queries too."""
    excluded = ",".join(filter(None, ("15090,15021,15020", sidecar.exclude_inbound_ports)))
    return [
        *("-p", "15001", "-z", "15006", "-u", "1337", "-g", "1337", "-m", sidecar.interception_mode),
        *("-i", sidecar.include_outbound_ip_ranges, "-x", sidecar.exclude_outbound_ip_ranges),
        *("-b", sidecar.include_inbound_ports, "-d", excluded),
        *("-q", sidecar.include_outbound_ports, "-o", sidecar.exclude_outbound_ports),
        *(("--redirect-dns", "--capture-all-dns") if dns else ()),
    ]
