"""The store's picture of a lab: Namespaces, ServiceAccounts, a Node and a Pod for each workload. Pure."""

from typing import Any

from tidegate.lab.plan import Member, Plan
from tidegate.lab.spec import Sidecar, Workload

Json = dict[str, Any]

CAPTURE_PREFIX = "traffic.sidecar.istio.io/"
APP, PROXY = "app", "istio-proxy"


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
    containers = [{"name": APP, "image": "lab", "command": list(workload.command), "ports": _ports(workload)}]
    if workload.capture is not None:
        proxy_ports = [{"name": "http-envoy-prom", "containerPort": 15090, "protocol": "TCP"}]
        containers.append({"name": PROXY, "image": "lab", "ports": proxy_ports})
    found["spec"] = {
        "nodeName": node_name(plan),
        "serviceAccountName": workload.service_account,
        "terminationGracePeriodSeconds": 0,
        "containers": containers,
    }
    if workload.host_aliases:
        found["spec"]["hostAliases"] = [{"ip": a.ip, "hostnames": list(a.hostnames)} for a in workload.host_aliases]
    return found


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


def pod_status(plan: Plan, member: Member, workload: Workload, *, ready: bool) -> Json:
    """Running; Ready once the sidecar and the program's ports are there."""
    truth = "True" if ready else "False"
    containers = [APP] if workload.capture is None else [APP, PROXY]
    return {
        "phase": "Running",
        "podIP": member.address,
        "podIPs": [{"ip": member.address}],
        "hostIP": plan.gateway,
        "conditions": [{"type": kind, "status": truth} for kind in ("Initialized", "ContainersReady", "Ready")],
        "containerStatuses": [
            {
                "name": name,
                "ready": ready,
                "restartCount": 0,
                "image": "lab",
                "imageID": "",
                "started": ready,
                "state": {"running": {}},
            }
            for name in containers
        ],
    }


def capture_arguments(sidecar: Sidecar) -> list[str]:
    """Options of ``tidegate iptables``, as Istio's injector sets them from the annotations."""
    excluded = ",".join(filter(None, ("15090,15021,15020", sidecar.exclude_inbound_ports)))
    return [
        *("-p", "15001", "-z", "15006", "-u", "1337", "-g", "1337", "-m", "REDIRECT"),
        *("-i", sidecar.include_outbound_ip_ranges, "-x", sidecar.exclude_outbound_ip_ranges),
        *("-b", sidecar.include_inbound_ports, "-d", excluded),
        *("-q", sidecar.include_outbound_ports, "-o", sidecar.exclude_outbound_ports),
    ]
