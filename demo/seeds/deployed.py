"""S004-10, S003-1: the client as a Deployment in a namespace of its own."""

import json
import re

from report import Recorder
from seeds.probes import curl, expect, rules
from stage import Ran, Stage

NAMESPACE = "fresh"
NGINX = "http://nginx.ext.example/"


def client(stage: Stage, record: Recorder) -> None:
    for command in (("create", "namespace", NAMESPACE), ("label", "namespace", NAMESPACE, "istio-injection=enabled")):
        stage.kubectl(*command)
        record.applied(f"kubectl {' '.join(command)}")
    try:
        with stage.applied("s004/workloads.yaml", "s004/client-deployment.yaml"):
            _with_a_sidecar(stage, record)
            _without(stage, record)
    finally:
        stage.kubectl("delete", "namespace", NAMESPACE)


def _with_a_sidecar(stage: Stage, record: Recorder) -> None:
    ran, pod = _rolled_out(stage)
    expect(record, ran, "READY 2/2", " 2/2 " in ran.out)
    ran = stage.run(f"{pod}.{NAMESPACE}", "getent", "hosts", "nginx.ext.example")
    expect(record, ran, "the name's address is the wrong one", "172.29.1.201" in ran.out)
    ran = stage.until(lambda: curl(stage, f"{pod}.{NAMESPACE}", NGINX), lambda seen: "Nginx" in seen.out)
    expect(record, ran, "a page of nginx all the same", re.search(r"Nginx 250[12] ~~", ran.out) is not None)


def _without(stage: Stage, record: Recorder) -> None:
    annotations = {"annotations": {"sidecar.istio.io/inject": "false"}}
    patch = json.dumps({"spec": {"template": {"metadata": annotations}}})
    stage.kubectl("patch", "deployment", "client", "-n", NAMESPACE, "-p", patch)
    record.applied(f"kubectl patch deployment client -n {NAMESPACE} -p '{patch}'")
    ran, pod = _rolled_out(stage)
    expect(record, ran, "with the annotation inject: false, READY 1/1", " 1/1 " in ran.out)
    ran, found = rules(stage, f"{pod}.{NAMESPACE}")
    expect(record, ran, "and no packet rules", not found and ran.code == 0, f"{len(found)} rules")


def _rolled_out(stage: Stage) -> tuple[Ran, str]:
    """The table of the one Pod that is left, and its name."""
    stage.kubectl("rollout", "status", "deployment/client", "-n", NAMESPACE, "--timeout=60s")
    ran = stage.until(
        lambda: stage.kubectl("get", "pods", "-n", NAMESPACE), lambda seen: seen.out.count("client-") == 1
    )
    return ran, ran.out.split()[-5]
