"""Seed 004, section 4: an egress gateway between the mesh and the hosts outside; and an ingress gateway before it."""

import contextlib
import json
import re
import subprocess
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import bounds
from report import Recorder
from seeds.probes import curl, expect, indented, status, table, traced, until_listed, until_status
from stage import Ran, Stage
from steps import Listed, pages

CLIENT, OUTSIDE = "client.entry", "small-1"
EGRESS, INGRESS = "istio-egressgateway.istio-system", "istio-ingressgateway.istio-system"
EGRESS_IP, INGRESS_IP = "10.64.192.60", "10.64.192.61"
EGRESS_CLUSTER = "outbound|80||istio-egressgateway.istio-system.svc.cluster.local"
NGINX, NGINX_CLUSTER = "http://nginx.ext.example/", "outbound|80||nginx.ext.example"
SITE, BOOKS = "www.site-a.example", "books.example"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)


def egress_gateway(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/egress-gateway.yaml"):
        until_listed(stage, "listener", EGRESS, "8080")
        ran, rows = table(stage, "listener", EGRESS)
        expect(record, ran, "the gateway listens on the Service's targetPort", any(" 8080 " in row for row in rows))
        ran, rows = table(stage, "route", EGRESS, "--name", "http.8080")
        expect(record, ran, "route http.8080", any(row.startswith("http.8080 ") for row in rows))
        ran, rows = until_listed(stage, "endpoint", CLIENT, "8093", "--cluster", NGINX_CLUSTER)
        healthy = [row for row in rows if " HEALTHY OK " in row]
        expect(record, ran, "three endpoints, HEALTHY OK", len(rows) == len(healthy) == 3)
        stage.until(lambda: status(stage, CLIENT, NGINX), lambda found: found.out == "200")
        _both_logs(stage, record)
        _split(stage, record)
        ran = status(stage, CLIENT, "http://10.122.24.139:8091/")
        expect(record, ran, "nothing forces the way through it: the direct address answers too", ran.out == "200")


def _both_logs(stage: Stage, record: Recorder) -> None:
    ran, lines = traced(stage, CLIENT, NGINX)
    passed = ran.out == "200" and EGRESS_CLUSTER in lines[0]
    expect(record, ran, f"the client's sidecar sends it to {EGRESS_CLUSTER}", passed, ran.out, evidence=lines)
    path = f"/?{uuid.uuid4()}"
    ran = status(stage, CLIENT, f"http://nginx.ext.example{path}")
    lines = stage.logged(EGRESS, path)
    told = all(word in lines[0] for word in ('"nginx.ext.example"', "10.122.24.139:809", "|nginx.ext.example"))
    expect(record, ran, "the gateway's log names authority, upstream and subset", told, ran.out, evidence=lines)


def _split(stage: Stage, record: Recorder) -> None:
    count = 2000
    low, high = bounds.acceptance(count, 0.05)
    ran = curl(stage, CLIENT, f"{NGINX}?n=[1-{count}]")
    seen: Counter[str] = pages(ran.out)
    passed = sum(seen.values()) == count and low <= seen["2601"] <= high
    expect(record, ran, f"2601 in 5 % of n={count} at the gateway: {low} to {high} times", passed, dict(seen))


def egress_source(stage: Stage, record: Recorder) -> None:
    url = "http://httpbin.org/headers"

    def peer() -> tuple[Ran, str]:
        ran = curl(stage, CLIENT, url)
        return ran, str(json.loads(ran.out).get("peer")) if ran.out.startswith("{") else ""

    ran, before = peer()
    expect(record, ran, "without it the host outside sees the client", before not in ("", EGRESS_IP), before)
    with stage.applied("s004/egress-source.yaml"):
        ran, found = stage.until(peer, lambda seen: seen[1] == EGRESS_IP)
        expect(record, ran, f"with it the gateway alone: {EGRESS_IP}", found == EGRESS_IP, found)


@contextlib.contextmanager
def secret(stage: Stage, name: str, kind: str, **files: str) -> Iterator[None]:
    """A Secret of istio-system; ``files`` are its keys, with _ for a dot."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        arguments = []
        for key, text in files.items():
            path = Path(folder) / key
            path.write_text(text)
            arguments.append(f"--from-file={key.replace('_', '.')}={path}")
        stage.kubectl("create", "secret", "generic", name, "-n", "istio-system", f"--type={kind}", *arguments)
    stage.tell(f"kubectl create secret generic {name} -n istio-system (of type {kind})")
    try:
        yield
    finally:
        stage.kubectl("delete", "secret", name, "-n", "istio-system")


def egress_tls(stage: Stage, record: Recorder) -> None:
    url = f"http://{SITE}/"
    shown = stage.run(CLIENT, "openssl", "s_client", "-connect", f"{SITE}:443", "-servername", SITE)
    found = _CERTIFICATE.search(shown.out)
    trusted = found.group() if found else ""
    with stage.applied("s004/egress-tls.yaml"):
        ran = until_status(stage, CLIENT, url, "503")
        expect(record, ran, "without roots to trust, nothing is sent: 503", ran.out == "503")
        with secret(stage, "site-a", "Opaque", ca_crt=trusted):
            ran = until_status(stage, CLIENT, url, "200")
            ran = curl(stage, CLIENT, url)
            expect(record, ran, "HTTP from the client, TLS to the server", ran.out.strip() == f"{SITE} over TLS")


def ingress_gateway(stage: Stage, record: Recorder) -> None:
    certificate, key = _self_signed(BOOKS)
    plain = ("--connect-to", f"{BOOKS}:80:{INGRESS_IP}:8080")
    secured = ("--connect-to", f"{BOOKS}:443:{INGRESS_IP}:8443")
    with (
        stage.applied("s004/ingress-gateway.yaml"),
        secret(stage, "books", "kubernetes.io/tls", tls_crt=certificate, tls_key=key),
    ):
        ran = until_status(stage, OUTSIDE, f"http://{BOOKS}/", "301", *plain)
        expect(record, ran, "plain HTTP from outside: sent to https", ran.out == "301")
        ran = until_status(stage, OUTSIDE, f"https://{BOOKS}/reviews/1", "200", *secured)
        ran = curl(stage, OUTSIDE, "-k", *secured, f"https://{BOOKS}/reviews/1")
        expect(record, ran, "HTTPS from outside: a reviews Pod answers", '"reviews"' in ran.out, indented(ran.out))
        ran = status(stage, OUTSIDE, f"https://{BOOKS}/ratings", *secured)
        expect(record, ran, "what no route names: 404", ran.out == "404")
        ran, rows = table(stage, "secret", INGRESS)
        held = any(row.startswith("kubernetes://books ") for row in rows)
        expect(record, ran, "the gateway holds the Secret's certificate", held)
        ran, rows = table(stage, "secret", EGRESS)
        expect(record, ran, "the other gateway does not", not any("books" in row for row in rows))


def _self_signed(host: str) -> tuple[str, str]:
    """A certificate for a day and its key, made by the machine's openssl."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        names = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-days", "1"]
        files = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]
        subprocess.run([*command, *names, *files], check=True, timeout=30, capture_output=True)
        return (Path(folder) / "cert.pem").read_text(), (Path(folder) / "key.pem").read_text()


STEPS = (
    Listed("S004-21 An egress gateway, its split of 5/95 and its log", egress_gateway, claims=("C004-25", "C004-26")),
    Listed("S004-21 The host outside sees the gateway alone", egress_source, claims=("C004-32",)),
    Listed("S004-21 TLS from the egress gateway on", egress_tls),
    Listed("R145 An ingress gateway with TLS from a Secret", ingress_gateway),
)
