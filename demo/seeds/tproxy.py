"""S001-11: inbound capture by TPROXY instead of REDIRECT; the application sees who called."""

from report import Recorder
from seeds.probes import curl, expect
from stage import Stage

CLIENT, WORKLOAD = "client.entry", "transparent.default"
SERVICE = "http://transparent.default:9080/"
OUTSIDE = "http://httpbin.org/headers"
TARGET = (
    "-A ISTIO_TPROXY ! -d 127.0.0.1/32 -p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff"
)


def transparent(stage: Stage, record: Recorder) -> None:
    _tables(stage, record)
    caller = stage.kubectl("get", "pod", "client", "-n", "entry", "-o", "jsonpath={.status.podIP}").out
    ran = stage.until(lambda: curl(stage, CLIENT, SERVICE), lambda seen: '"peer"' in seen.out)
    lines = stage.logged(WORKLOAD, "inbound|9080||")[-1:]
    passed = f'"peer": "{caller}"' in ran.out and bool(lines)
    expect(record, ran, f"through the sidecar, and the application sees the caller, {caller}", passed, evidence=lines)
    ran = stage.until(lambda: curl(stage, WORKLOAD, OUTSIDE), lambda seen: '"headers"' in seen.out)
    lines = stage.logged(WORKLOAD, "PassthroughCluster", "/headers")[-1:]
    expect(record, ran, "what goes out passes the sidecar as everywhere", '"headers"' in ran.out, evidence=lines)
    shown = stage.inside(WORKLOAD, "ss", "-tlnp", "sport", "=", ":15001").out
    pid = shown.partition("pid=")[2].partition(",")[0]
    ran = stage.inside(WORKLOAD, "grep", "CapEff", f"/proc/{pid}/status")
    expect(record, ran, "Envoy has CAP_NET_ADMIN, which it takes", ran.out.split()[-1:] == ["0000000000001000"])


def _tables(stage: Stage, record: Recorder) -> None:
    ran = stage.inside(WORKLOAD, "iptables-save", "-t", "mangle")
    found = ran.out.splitlines()
    expect(record, ran, "the mangle table takes what comes in", TARGET in found)
    ran = stage.inside(WORKLOAD, "iptables-save", "-t", "nat")
    outbound = "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001"
    redirected = [line for line in ran.out.splitlines() if "ISTIO_INBOUND" in line and line.startswith("-A PREROUTING")]
    expected = "the nat table takes what goes out, by REDIRECT as ever, and nothing that comes in"
    expect(record, ran, expected, outbound in ran.out and not redirected)
