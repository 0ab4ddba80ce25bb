"""Two network namespaces: a Pod with its Envoy, a sidecar behind real packet rules or a gateway, and all the world."""

import contextlib
import http.client
import json
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from google.protobuf import json_format

from tests.certificates import Authority
from tests.equivalence.live import far, leftovers, secrets
from tests.equivalence.live.control import Control, Shown, view_of
from tidegate.agent.bootstrap import bootstrap
from tidegate.agent.process import as_user
from tidegate.agent.settings import Settings
from tidegate.app.offline.compile import Compiled
from tidegate.capture import apply
from tidegate.capture.kernel import Kernel
from tidegate.envoy import protos
from tidegate.kit import envoy_binary
from tidegate.rules.model import Family, RuleSet
from tidegate.rules.saved import RuleSets
from tidegate.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

POD, NAMESPACE, ADDRESS = "web-0", "shop", "10.1.0.5"
ADDRESS6 = "fd00:10:1::5"
OUTSIDE, ELSEWHERE, OUTSIDE6 = "10.1.0.1", "10.1.0.66", "fd00:10:1::1"
"""Addresses that inbound connections come from."""
PASSED_IN6 = "::6"
"""Where a sidecar's connections to its own application come from over IPv6."""
APPLICATION_PORTS = (8080, 8081, 9000, 3306)
"""Ports on which the Pod's application listens; on the last two a proxy without interception does itself."""
OUTSIDE_PORTS = (25, 80, 443, 3306, 4306, 7000, 7070, 7777, 8000, 8080, 8081, 8306, 8443, 9000, 9080, 9081, 10000)
CALLER_NAME = "spiffe://cluster.local/ns/shop/sa/caller"
"""Of the certificate that callers show where they show one."""
CHOSEN = range(10001, 40000)
"""Source ports of callers."""
PATIENCE = 30.0
SETTLED = 3.0
"""Seconds after which a log line that has not come is taken as never written; flushed every 0.02."""
CALLER, NAME_SERVER = (Path(__file__).with_name(name) for name in ("caller.py", "nameserver.py"))
Mode = Literal["REDIRECT", "TPROXY", "NONE", "ROUTER"]
"""How the Pod's proxy comes to its connections; ROUTER: a gateway."""
Json = dict[str, Any]


class Seen(NamedTuple):
    """What became of one connection."""

    told: Json
    """By the client."""
    near: Json
    """By the sidecar's access log; empty where it has no line."""
    far: Json
    """By the log of whoever it reached; empty where it reached nobody."""
    copies: tuple[Json, ...] = ()
    """Further requests of the same id: mirrored ones."""


class Log:
    """Lines of JSON that an Envoy writes."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self.lines: list[Json] = []

    def read(self) -> list[Json]:
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as opened:
            opened.seek(self._offset)
            whole, _, _ = opened.read().rpartition(b"\n")
            self._offset += len(whole) + 1 if whole else 0
            self.lines += map(json.loads, whole.splitlines())
        return self.lines


class Admin(http.client.HTTPConnection):
    """Envoy's admin interface on a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=PATIENCE)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._path)


class Stage:
    """One proxy for one world after the other."""

    def __init__(self, folder: Path, undo: contextlib.ExitStack, mode: Mode = "REDIRECT") -> None:
        self.folder, self._undo, self.mode = folder, undo, mode
        self.pod, self.outside = leftovers.namespace("p"), leftovers.namespace("o")
        self.near_log, self.far_log = folder / "near.log", folder / "far.log"
        self._near, self._far = Log(self.near_log), Log(self.far_log)
        self._rules: RuleSets | None = None
        self._taken: Json = {}
        self._admin_path, self._secrets_path = folder / "admin.sock", folder / "secrets.sock"
        self._authority = Authority()
        self._envoy: subprocess.Popen[bytes] | None = None
        self._network()
        self._far_side()
        self.caller_certificate = tuple(map(str, self._certificate("caller", "caller", CALLER_NAME)))
        """Certificate and key of callers that show one."""
        self._callers = {
            "outbound": self._caller(self.pod, 1000),
            "inbound": self._caller(self.outside, 0, OUTSIDE),
        }
        self._name_server = self._names() if mode == "REDIRECT" else None
        self._control = self._plane()

    # how it is set up

    def _network(self) -> None:
        for name in (self.pod, self.outside):
            ip("netns", "add", name)
            self._undo.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", self.pod, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.outside)
        for name, addresses in ((self.pod, (ADDRESS, ADDRESS6)), (self.outside, (OUTSIDE, ELSEWHERE, OUTSIDE6))):
            ip("-n", name, "link", "set", "eth0", "up")
            for address in addresses:
                bits = ["/128", "nodad"] if ":" in address else ["/32"]
                ip("-n", name, "addr", "add", f"{address}{bits[0]}", "dev", "eth0", *bits[1:])
        for name, peers in ((self.pod, (OUTSIDE, OUTSIDE6)), (self.outside, (ADDRESS, ADDRESS6))):
            for peer in peers:
                ip("-n", name, "route", "add", peer, "dev", "eth0", *(["scope", "link"] if ":" not in peer else []))
        ip("-n", self.pod, "route", "add", "default", "via", OUTSIDE, "src", ADDRESS)
        ip("-n", self.pod, "-6", "route", "add", "default", "via", OUTSIDE6, "dev", "eth0", "src", ADDRESS6)
        ip("-n", self.pod, "addr", "add", f"{PASSED_IN6}/128", "dev", "lo")
        for family in ("-4", "-6"):  # every other address is the outside's own
            ip("-n", self.outside, family, "route", "add", "local", "default", "dev", "lo", "table", "main")
        if self.mode == "TPROXY":
            self._transparent()
        self._settle(self.pod)
        self._resolver()

    def _transparent(self) -> None:
        """What marked packets need to come to the proxy's socket."""
        for family in ("-4", "-6"):
            ip("-n", self.pod, family, "rule", "add", "fwmark", "1337", "lookup", "133")
            ip("-n", self.pod, family, "route", "add", "local", "default", "dev", "lo", "table", "133")

    def _resolver(self) -> None:
        resolver = leftovers.RESOLVERS / self.pod
        resolver.mkdir(parents=True)
        self._undo.callback(shutil.rmtree, resolver)
        (resolver / "resolv.conf").write_text(f"nameserver {OUTSIDE}\n")

    def _settle(self, name: str) -> None:
        """Keep ports that the kernel chooses apart from those that callers bind: a port that is used twice towards
        different places is changed on its way through a redirection. Every user may listen on any port."""
        where = "/proc/sys/net/ipv4"
        settings = f"echo {CHOSEN[-1] + 1} 65000 > {where}/ip_local_port_range"
        settings += f"; echo 0 > {where}/ip_unprivileged_port_start"
        subprocess.run(["ip", "netns", "exec", name, "sh", "-c", settings], check=True)

    def _far_side(self) -> None:
        certificate, key = self._certificate("far", "everything")
        application = {"ROUTER": (), "NONE": APPLICATION_PORTS[:2]}.get(self.mode, APPLICATION_PORTS)
        own = ((self.pod, application),) if application else ()
        for name, ports in ((self.outside, OUTSIDE_PORTS), *own):
            config = far.bootstrap(str(self.far_log), str(certificate), str(key), ports)
            process = self._run(name, f"far-{name}", config)
            self._until(partial(_listens, name, ports[-1]), process, f"far-{name}")

    def _certificate(self, called: str, *names: str) -> tuple[Path, Path]:
        pair = self._authority.issue(*names)
        certificate, key = self.folder / f"{called}.crt", self.folder / f"{called}.key"
        certificate.write_bytes(pair.certificate)
        key.write_bytes(pair.key)
        return certificate, key

    def _caller(self, name: str, user: int, *arguments: str) -> "subprocess.Popen[str]":
        return self._talker(name, CALLER, str(user), *arguments)

    def _names(self) -> "subprocess.Popen[str]":
        """What the agent answers the Pod's queries with, where they are captured."""
        return self._talker(self.pod, NAME_SERVER, f"{NAMESPACE}.svc.cluster.local", OUTSIDE)

    def _talker(self, name: str, file: Path, *arguments: str) -> "subprocess.Popen[str]":
        program = [*inside(name), sys.executable, "-I", "-c", file.read_text(), *arguments]
        process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._undo.callback(_end, process)
        assert _line(process) == "ready\n"
        return process

    def _plane(self) -> Control:
        nowhere = self.folder / "nothing"
        self._settings = Settings(
            name=POD,
            namespace=NAMESPACE,
            address=ADDRESS,
            run_dir=self.folder,
            state_dir=nowhere,
            type="router" if self.mode == "ROUTER" else "sidecar",
            interception_mode="REDIRECT" if self.mode == "ROUTER" else self.mode,
            token_file=nowhere,
            upstream=nowhere,
            envoy=envoy_binary.find(),
        )
        sockets = (self._settings.xds_socket, self._secrets_path)
        control = Control(sockets[0], secrets.Secrets(self._authority), sockets[1])
        self._undo.callback(control.stop)
        for each in (*sockets[0].parents, *sockets):
            if each.is_relative_to(self.folder):
                each.chmod(0o777)
        return control

    def _run(self, name: str, called: str, config: Json, command: Iterable[str] = ()) -> "subprocess.Popen[bytes]":
        file = self.folder / f"{called}.json"
        file.write_text(json.dumps(config))
        options = ("--disable-hot-restart", "--concurrency", "1", "--file-flush-interval-msec", "20", "-l", "warning")
        program = [str(envoy_binary.find()), "-c", str(file), *options, "--drain-time-s", "1"]
        with (self.folder / f"{called}.log.txt").open("wb") as log:
            process = subprocess.Popen([*inside(name), *command, *program], stdout=log, stderr=log)
        self._undo.callback(_end, process)
        return process

    def _until(self, holds: Callable[[], bool], process: "subprocess.Popen[bytes]", called: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            log = self.folder / f"{called}.log.txt"
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
            time.sleep(0.02)

    # how it is used

    def play(self, compiled: Compiled, dump: Json, rules: RuleSets | None) -> Json:
        """Let the proxy run this configuration behind these packet rules; its own dump of it."""
        if rules != self._rules:
            self._apply(rules)
        view = view_of(compiled, dump)
        self._control.show(view)
        if self._envoy is None:
            self._envoy = self._start()
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self._envoy.poll() is None, (self.folder / "near.log.txt").read_text()[-3000:]
            text = self.ask("/stats?filter=listener_manager.lds.version_text").decode()
            found = self.dump()
            missing = self._missing(view, found, view.version in text)
            if not missing:
                return found
            refused = self._control.refusals()
            late = time.monotonic() > deadline
            assert not refused and not late, f"Envoy does not run the world: {refused or missing[:5]}"
            time.sleep(0.03)

    def _apply(self, rules: RuleSets | None) -> None:
        """By iptables' own programs alone: what asks netlink forks, which a process that serves gRPC must not."""
        families: tuple[Family, ...] = ("ipv4", "ipv6")
        apply([(rules or {}).get(family, RuleSet(family)) for family in families], Kernel(netns=self.pod))
        self._rules = rules

    def _start(self) -> "subprocess.Popen[bytes]":
        config = bootstrap(self._settings)
        config["admin"] = {"address": {"pipe": {"path": str(self._admin_path)}}}
        config["static_resources"]["clusters"].append(secrets.cluster(self._secrets_path))
        envoy = self._run(self.pod, "near", config, as_user(self._settings))
        self._until(self._administered, envoy, "near")
        return envoy

    def _missing(self, view: Shown, dump: Json, listeners_came: bool) -> list[Any]:
        """What the Envoy does not run yet, or still does.

        A listener that was updated in place keeps its earlier version in the dump: what counts then is that the
        answer with the new one has been taken.
        """
        wanted, found = _wanted(view), _running(dump)
        for key in wanted:
            if key[0] == LISTENER and key in found:
                if listeners_came:
                    self._taken[key] = wanted[key]
                found[key] = self._taken.get(key, found[key])
        # endpoints of other clusters are listed too, and the routes of listeners that are gone until they are drained
        looked_at = {*wanted, *(key for key in found if key[0] not in (ENDPOINT, ROUTE))}
        return [key for key in looked_at if wanted.get(key) != found.get(key)]

    def answer_names(self, table: Json) -> None:
        """Let the Pod's captured queries be answered from a name table."""
        assert self._name_server is not None
        assert _told(self._name_server, table) == len(table)

    def resolve(self, names: list[str]) -> dict[str, list[str]]:
        """What the Pod's application is told of names."""
        found: dict[str, list[str]] = _told(self._callers["outbound"], {"resolve": names})
        return found

    def dump(self) -> Json:
        found: Json = json.loads(self.ask("/config_dump?include_eds"))
        return found

    def _administered(self) -> bool:
        """Whether the admin interface answers: its socket is there before anybody listens at it."""
        try:
            return bool(self.ask("/listeners?format=json"))
        except OSError:
            return False

    def ask(self, path: str) -> bytes:
        """The admin interface's answer."""
        admin = Admin(self._admin_path)
        with contextlib.closing(admin):
            admin.request("GET", path)
            return admin.getresponse().read()

    def call(self, orders: list[Json], logs: Callable[[Json], bool | None]) -> dict[str, Seen]:
        """Open connections, all at once; what became of each by its id.

        logs: of an order, whether the proxy logs it; None where that cannot be told.
        """
        for direction, caller in self._callers.items():
            _tell(caller, [each for each in orders if each["direction"] == direction])
        told = {each["id"]: each for caller in self._callers.values() for each in json.loads(_line(caller))}
        deadline = time.monotonic() + SETTLED
        while True:
            near, distant = self._near.read(), self._far.read()
            found = {o["id"]: _seen(o, told[o["id"]], near, distant) for o in orders}
            if all(_complete(found[o["id"]], logs(o), o) for o in orders) or time.monotonic() > deadline:
                return found
            time.sleep(0.02)

    def forget(self) -> None:
        """Lines of earlier connections: source ports come again."""
        self._near.read()
        self._far.read()
        self._near.lines.clear()
        self._far.lines.clear()


def place(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _seen(order: Json, told: Json, near: list[Json], distant: list[Json]) -> Seen:
    peer, dialled = place(order["from"], told["port"]), place(order["ip"], order["port"])
    lines = [each for each in near if (each["peer"], each["dst"]) == (peer, dialled)]
    line = next((each for each in lines if each["id"] == order["id"]), lines[-1] if lines else {})
    target = (line["local"], line["host"]) if line else (peer, dialled)
    asked = sorted(
        (e for e in distant if e["id"] == order["id"] and e["kind"] == "request"),
        key=lambda e: e["dst"] != line.get("host"),
    )
    carried = [e for e in distant if (e["peer"], e["dst"]) == target and e["kind"] == "connection"]
    return Seen(told, line, (asked[:1] or carried or [{}])[-1], tuple(asked[1:]))


def _complete(seen: Seen, logs: bool | None, order: Json) -> bool:
    """Whether every line that is to come has come; of an outbound call to the Pod itself only the near one is read."""
    if logs is None:
        return True
    if not logs:
        return bool(seen.far) or seen.told["end"] == "refused"
    if "UF" in (seen.near.get("flags") or ""):
        return True  # nobody took it
    host = seen.near.get("host") or ""
    itself = order["direction"] == "outbound" and own(host)
    copied = len(seen.copies) >= order["copies"]
    return bool(seen.near) and ((bool(seen.far) and copied) or not host or itself)


def own(address: str) -> bool:
    """Whether IP:PORT is of the Pod."""
    return address.startswith((f"{ADDRESS}:", f"[{ADDRESS6}]:"))


def _wanted(view: Shown) -> Json:
    found: Json = {}
    for kind in (CLUSTER, LISTENER, ROUTE):
        found |= {(kind, each.name): each.version for each in view.items(kind)}
    for each in view.items(ENDPOINT):
        body = protos.ClusterLoadAssignment.FromString(each.body)
        found |= _endpoints(json_format.MessageToDict(body, preserving_proto_field_name=True))
    return found


_KEPT = {"dynamic_active_clusters": "cluster", "dynamic_route_configs": "route_config"}
_KINDS = {"cluster": CLUSTER, "route_config": ROUTE}


def _running(dump: Json) -> Json:
    """Versions of resources by kind and name; addresses of endpoints."""
    found: Json = {}
    for part in dump["configs"]:
        for each in part.get("dynamic_listeners", ()):
            if "warming_state" in each or "error_state" in each:
                found["waits", each["name"]] = True
            if "active_state" in each:
                found[LISTENER, each["name"]] = each["active_state"]["version_info"]
        for key, field in _KEPT.items():
            for each in part.get(key, ()):
                found[_KINDS[field], each[field]["name"]] = each["version_info"]
        found |= {("waits", each["cluster"]["name"]): True for each in part.get("dynamic_warming_clusters", ())}
        for each in part.get("dynamic_endpoint_configs", ()):
            found |= _endpoints(each["endpoint_config"])
    return found


def _endpoints(assignment: Json) -> Json:
    listed = [
        f"{e['endpoint']['address']} {e.get('load_balancing_weight', 1)} {group.get('priority', 0)}"
        for group in assignment.get("endpoints", ())
        for e in group.get("lb_endpoints", ())
    ]
    return {(ENDPOINT, assignment["cluster_name"]): sorted(listed)} if listed else {}


def _listens(name: str, port: int) -> bool:
    shown = subprocess.run(["ip", "netns", "exec", name, "ss", "-ltnH"], capture_output=True, text=True, check=True)
    return f":{port} " in shown.stdout


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _tell(process: "subprocess.Popen[str]", what: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(what) + "\n")
    process.stdin.flush()


def _told(process: "subprocess.Popen[str]", what: Any) -> Any:
    _tell(process, what)
    return json.loads(_line(process))


def inside(name: str) -> list[str]:
    return ["ip", "netns", "exec", name]


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
    assert ready, "a caller does not answer"
    return process.stdout.readline()


def _end(process: "subprocess.Popen[Any]") -> None:
    process.terminate()
    process.wait(PATIENCE)
    for each in (process.stdin, process.stdout):
        if each is not None:
            with contextlib.suppress(OSError):
                each.close()


@contextlib.contextmanager
def staged(mode: Mode = "REDIRECT") -> Iterator[Stage]:
    """A stage in a folder that Envoy's user may write into; nothing of it is left afterwards."""
    leftovers.remove()
    folder = leftovers.folder()
    folder.chmod(0o777)
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        yield Stage(folder, undo, mode)
