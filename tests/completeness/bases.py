"""Objects that the mutations start from, the world around them, and what a mutated field needs beside it."""

import json
from typing import Any

CLIENT = {"namespace": "one", "labels": {"app": "client", "version": "v1"}, "address": "10.244.0.2"}
SERVER = {"namespace": "one", "labels": {"app": "server", "version": "v1"}, "address": "10.244.0.3"}

OTHER = {"namespace": "two", "labels": {"app": "other"}, "address": "10.244.0.4"}
GATEWAY = {"namespace": "one", "labels": {"app": "gateway"}, "address": "10.244.0.5"}
EDGE = {"namespace": "two", "labels": {"app": "edge", "istio": "ingressgateway"}, "address": "10.244.0.6"}

AROUND: list[dict[str, Any]] = [
    {
        "kind": "Namespace",
        "metadata": {"name": n, "labels": {"kubernetes.io/metadata.name": n}},
        "apiVersion": "v1",
    }
    for n in ("one", "two", "istio-system")
]
for name, who in (("client", CLIENT), ("server", SERVER), ("other", OTHER), ("gw", GATEWAY), ("edge", EDGE)):
    AROUND.append(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": who["namespace"], "labels": who["labels"], "uid": name},
            "spec": {"serviceAccountName": name, "containers": [{"name": "app"}], "nodeName": "node"},
            "status": {
                "phase": "Running",
                "podIP": who["address"],
                "podIPs": [{"ip": who["address"]}],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
    )
AROUND += [
    {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "node",
            "uid": "node",
            "labels": {"topology.kubernetes.io/region": "r1", "topology.kubernetes.io/zone": "z1"},
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server", "namespace": "one", "uid": "server"},
        "spec": {
            "clusterIP": "10.96.0.3",
            "selector": {"app": "server"},
            "ports": [
                {"name": "http", "port": 80, "targetPort": 8080},
                {"name": "tcp", "port": 7000, "targetPort": 7000},
                {"name": "tls", "port": 443, "targetPort": 8443},
            ],
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "eastwest",
            "namespace": "istio-system",
            "uid": "eastwest",
            "labels": {"topology.istio.io/network": "far"},
        },
        "spec": {
            "clusterIP": "10.96.0.4",
            "externalIPs": ["192.0.2.1"],
            "ports": [{"name": "tls", "port": 15443}],
        },
    },
    {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "server-1",
            "namespace": "one",
            "uid": "server-1",
            "labels": {"kubernetes.io/service-name": "server"},
        },
        "addressType": "IPv4",
        "ports": [
            {"name": "http", "port": 8080, "protocol": "TCP"},
            {"name": "tcp", "port": 7000, "protocol": "TCP"},
            {"name": "tls", "port": 8443, "protocol": "TCP"},
        ],
        "endpoints": [
            {
                "addresses": ["10.244.0.3"],
                "conditions": {"ready": True},
                "nodeName": "node",
                "targetRef": {"kind": "Pod", "name": "server", "namespace": "one"},
            }
        ],
    },
]


def entry(name: str, host: str, namespace: str = "one", **more: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "hosts": [host],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "ports": [
            {"number": 80, "name": "http", "protocol": "HTTP"},
            {"number": 7000, "name": "tcp", "protocol": "TCP"},
            {"number": 443, "name": "tls", "protocol": "TLS"},
        ],
        "endpoints": [
            {"address": "10.8.0.1", "labels": {"version": "v1"}, "locality": "r1/z1/s1"},
            {"address": "10.8.0.2", "labels": {"version": "v2"}, "locality": "r2/z2/s2"},
            {"address": "10.8.0.3", "labels": {"version": "v1"}, "locality": "r2/z2/s2"},
            {"address": "10.8.0.4", "labels": {"version": "v1"}, "locality": "r3/z3/s3"},
            {"address": "10.8.0.5", "labels": {"version": "v1", "tier": "near"}, "locality": "r1/z9/s9"},
        ],
    }
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": namespace, "uid": name},
        "spec": {**spec, **more},
    }


def istio(kind: str, name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "uid": f"{namespace}/{name}"},
        "spec": spec,
    }


def security(kind: str, name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {**istio(kind, name, namespace, spec), "apiVersion": "security.istio.io/v1"}


def leads_to(host: str, **more: Any) -> dict[str, Any]:
    return {"route": [{"destination": {"host": host, "port": {"number": 80}, **more}}]}


MESH = {
    "accessLogFile": "/dev/stdout",
    "enableTracing": False,
    "enableAutoMtls": False,
    "inboundClusterStatName": "%SERVICE%_%SERVICE_PORT_NAME%",
}

_TRACER = {"name": "tracer", "zipkin": {"service": "two.example", "port": 80}}

AROUND += [
    entry("b", "b.example", addresses=["10.9.0.2"]),
    entry("c", "c.example", addresses=["10.9.0.3"]),
    entry("two", "two.example", addresses=["10.9.0.4"], namespace="two"),
    entry("dns", "dns.example", addresses=["10.9.0.6"], resolution="DNS", endpoints=[]),
    entry(
        "sni",
        "sni.example",
        addresses=[],
        resolution="DNS",
        endpoints=[],
        ports=[{"number": 8443, "name": "tls", "protocol": "TLS"}],
    ),
    entry(
        "selecting",
        "selecting.example",
        addresses=["10.9.0.5"],
        endpoints=[],
        workloadSelector={"labels": {"app": "vm"}},
    ),
    istio("WorkloadEntry", "vm", "one", {"address": "10.7.0.9", "labels": {"app": "vm"}, "ports": {"http": 8088}}),
    entry("d", "d.example", addresses=["10.9.0.7"]),
    istio(
        "VirtualService",
        "to-subset",
        "one",
        {
            "hosts": ["d.example"],
            "http": [leads_to("b.example", subset="v1")],
            "tcp": [{"route": [{"destination": {"host": "b.example", "subset": "v1"}}]}],
        },
    ),
    istio("VirtualService", "delegate", "one", {"http": [leads_to("c.example")]}),
    istio(
        "Gateway",
        "around",
        "one",
        {
            "selector": {"app": "gateway"},
            "servers": [
                {"port": {"number": 7100, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]},
                {"port": {"number": 7200, "name": "tcp", "protocol": "TCP"}, "hosts": ["*"]},
                {"port": {"number": 7300, "name": "tls", "protocol": "TLS"}, "hosts": ["*"], "tls": {}},
                {
                    "port": {"number": 7400, "name": "https", "protocol": "HTTPS"},
                    "hosts": ["*"],
                    "tls": {"mode": "SIMPLE", "serverCertificate": "/c.pem", "privateKey": "/k.pem"},
                },
            ],
        },
    ),
    istio(
        "VirtualService",
        "bound",
        "one",
        {
            "hosts": ["*"],
            "gateways": ["mutated"],
            "http": [leads_to("b.example")],
            "tcp": [{"route": [{"destination": {"host": "b.example"}}]}],
            "tls": [{"match": [{"sniHosts": ["a.example"]}], "route": [{"destination": {"host": "b.example"}}]}],
        },
    ),
    istio("VirtualService", "delegate", "two", {"http": [leads_to("two.example")]}),
    istio("DestinationRule", "c", "istio-system", {"host": "c.example", "trafficPolicy": {"outlierDetection": {}}}),
    istio(
        "DestinationRule",
        "a",
        "one",
        {
            "host": "a.example",
            "trafficPolicy": {"portLevelSettings": [{"port": {"number": 7000}, "tls": {"mode": "SIMPLE"}}]},
        },
    ),
    {
        **istio(
            "EnvoyFilter",
            "around",
            "one",
            {
                "workloadSelector": {"labels": {"app": "client"}},
                "configPatches": [
                    {
                        "applyTo": "CLUSTER",
                        "match": {"cluster": {"name": "PassthroughCluster"}},
                        "patch": {"operation": "MERGE", "value": {"alt_stat_name": "around"}},
                    }
                ],
            },
        ),
        "apiVersion": "networking.istio.io/v1alpha3",
    },
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": "around",
            "namespace": "one",
            "uid": "ingress",
            "annotations": {"kubernetes.io/ingress.class": "istio"},
        },
        "spec": {
            "tls": [{"hosts": ["ingress.example"], "secretName": "ingress"}],
            "rules": [
                {
                    "host": "ingress.example",
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "server", "port": {"number": 80}}},
                            }
                        ]
                    },
                }
            ],
        },
    },
    security(
        "AuthorizationPolicy",
        "asking",
        "two",
        {"action": "CUSTOM", "provider": {"name": "asked"}, "rules": [{"to": [{"operation": {"ports": ["80"]}}]}]},
    ),
    security(
        "AuthorizationPolicy",
        "known",
        "two",
        {"rules": [{"from": [{"source": {"principals": ["cluster.local/ns/one/sa/client"]}}]}]},
    ),
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system", "uid": "mesh"},
        "data": {"mesh": json.dumps({**MESH, "extensionProviders": [_TRACER]})},
    },
]

_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}
"""The public key of RFC 7517, A.1."""
KEYS = [json.dumps({"keys": [{**_KEY, "kid": kid}]}) for kid in ("first", "second")]

BASES: dict[str, dict[str, Any]] = {
    "ServiceEntry": entry("a", "a.example", addresses=["10.9.0.1"])["spec"],
    "WorkloadEntry": {
        "address": "10.7.0.1",
        "labels": {"app": "vm", "version": "v1"},
        "ports": {"http": 8080},
        "locality": "r1/z1/s1",
        "weight": 2,
        "serviceAccount": "vm",
    },
    "WorkloadGroup": {"template": {"serviceAccount": "vm"}, "metadata": {"labels": {"app": "vm"}}},
    "Sidecar": {
        "workloadSelector": {"labels": {"app": "client"}},
        "egress": [{"hosts": ["*/*"]}],
        "outboundTrafficPolicy": {"mode": "ALLOW_ANY"},
    },
    "VirtualService": {
        "hosts": ["b.example"],
        "http": [{"route": [{"destination": {"host": "b.example", "port": {"number": 80}}}]}],
    },
    "DestinationRule": {
        "host": "b.example",
        "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 5}}},
        "subsets": [{"name": "v1", "labels": {"version": "v1"}}],
    },
    "Gateway": {
        "selector": {"app": "gateway"},
        "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
    },
    "AuthorizationPolicy": {
        "selector": {"matchLabels": {"app": "server"}},
        "rules": [
            {
                "from": [{"source": {"ipBlocks": ["10.1.0.0/16"]}}],
                "to": [{"operation": {"ports": ["8080"]}}],
                "when": [{"key": "request.headers[x-user]", "values": ["alice"]}],
            }
        ],
    },
    "PeerAuthentication": {
        "selector": {"matchLabels": {"app": "server"}},
        "mtls": {"mode": "STRICT"},
        "portLevelMtls": {"8080": {"mode": "STRICT"}},
    },
    "RequestAuthentication": {
        "selector": {"matchLabels": {"app": "server"}},
        "jwtRules": [{"issuer": "https://idp.example", "jwks": KEYS[0]}],
    },
    "EnvoyFilter": {
        "workloadSelector": {"labels": {"app": "client"}},
        "configPatches": [
            {
                "applyTo": "CLUSTER",
                "match": {"context": "SIDECAR_OUTBOUND", "cluster": {"name": "PassthroughCluster"}},
                "patch": {"operation": "MERGE", "value": {"alt_stat_name": "mutated"}},
            }
        ],
    },
    "Telemetry": {
        "selector": {"matchLabels": {"app": "client"}},
        "accessLogging": [{"providers": [{"name": "envoy"}], "filter": {"expression": "response.code >= 400"}}],
    },
    "ProxyConfig": {"selector": {"matchLabels": {"app": "client"}}, "concurrency": 2},
    "WasmPlugin": {"selector": {"matchLabels": {"app": "client"}}, "url": "oci://registry.example/filter:1"},
    "MeshConfig": MESH,
}
"""By kind: a body that is admitted and that shows in some resource."""
