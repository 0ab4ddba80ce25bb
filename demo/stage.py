"""The lab as the steps use it: apply objects, run commands in workloads, read what the sidecars logged."""

import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T")

HERE = Path(__file__).resolve().parent
TIDEGATE = (sys.executable, "-m", "tidegate")
COMMAND_SECONDS = 120.0
EFFECT_SECONDS = 30.0
"""How long a change may take to show before the step fails."""
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    line: str
    """As one would type it."""
    code: int
    out: str
    err: str


class StageError(Exception):
    """The stage itself failed, not what is shown on it."""


class Stage:
    """A lab that is up."""

    def __init__(
        self, quiet: bool = False, folder: str = "", objects: str = "steps", environment: dict[str, str] | None = None
    ) -> None:
        """``folder`` below demo/ holds lab.yaml, ``objects`` below demo/ what the steps apply.

        ``environment`` is added to that of every command.
        """
        self._quiet = quiet
        self._environment = os.environ | (environment or {})
        self._lab = str(HERE / folder / "lab.yaml")
        self._objects = objects
        self.tell: Callable[[str], None] = print
        """Told each thing that is applied."""

    def up(self) -> None:
        self._checked((*TIDEGATE, "lab", "up", "-f", self._lab), quiet=self._quiet)

    def down(self) -> None:
        self._checked((*TIDEGATE, "lab", "down", "-f", self._lab))

    def kubeconfig(self) -> str:
        status = json.loads(self._checked((*TIDEGATE, "lab", "status", "-o", "json")).out)
        return str(status["kubeconfig"])

    def kubectl(self, *arguments: str, stdin: str = "") -> Ran:
        return _good(self._kubectl(*arguments, stdin=stdin))

    def _kubectl(self, *arguments: str, stdin: str = "") -> Ran:
        binary = Path(sys.executable).parent / "kubectl"
        command = (str(binary) if binary.exists() else "kubectl", *arguments)
        ran = self._run(command, stdin=stdin, KUBECONFIG=self._kubeconfig)
        return Ran(f"kubectl {shlex.join(arguments)}", ran.code, ran.out, ran.err)

    @property
    def _kubeconfig(self) -> str:
        if not hasattr(self, "_known"):
            self._known = self.kubeconfig()
        return self._known

    @contextlib.contextmanager
    def applied(self, *names: str) -> Iterator[None]:
        """The objects of these files, deleted again at the end."""
        try:
            for name in names:
                self.apply(name)
            yield
        finally:
            for name in reversed(names):
                self.kubectl("delete", "--ignore-not-found", "-f", str(HERE / self._objects / name))

    def rejected(self, name: str) -> Ran:
        """The objects of this file, which the server is expected to refuse."""
        path = str(HERE / self._objects / name)
        ran = self._kubectl("apply", "-f", path)
        if ran.code == 0:
            self.kubectl("delete", "--ignore-not-found", "-f", path)
        return Ran(f"kubectl apply -f demo/{self._objects}/{name}", ran.code, ran.out, ran.err)

    def apply(self, name: str) -> None:
        """The objects of this file."""
        self.kubectl("apply", "-f", str(HERE / self._objects / name))
        self.tell(f"kubectl apply -f demo/{self._objects}/{name}")

    @contextlib.contextmanager
    def outbound_policy(self, mode: str) -> Iterator[None]:
        """The mesh's outboundTrafficPolicy, put back at the end."""
        with self.mesh(outboundTrafficPolicy={"mode": mode}):
            yield

    @contextlib.contextmanager
    def mesh(self, **fields: Any) -> Iterator[None]:
        """Fields of the mesh configuration, which is put back at the end."""
        shown = self.kubectl("get", "configmap", "istio", "-n", "istio-system", "-o", "json")
        before = str(json.loads(shown.out)["data"]["mesh"])
        self._replace_mesh(yaml.safe_dump((yaml.safe_load(before) or {}) | fields))
        told = yaml.safe_dump(fields, default_flow_style=True).strip().removeprefix("{").removesuffix("}")
        self.tell(f"kubectl replace configmap istio -n istio-system ({told})")
        try:
            yield
        finally:
            self._replace_mesh(before)

    def _replace_mesh(self, mesh: str) -> None:
        shown = self.kubectl("get", "configmap", "istio", "-n", "istio-system", "-o", "json")
        config: dict[str, Any] = json.loads(shown.out)
        config["data"]["mesh"] = mesh
        self.kubectl("replace", "-f", "-", stdin=json.dumps(config))

    def run(self, workload: str, *command: str, stdin: str = "") -> Ran:
        """A command in a workload."""
        ran = self._run((*TIDEGATE, "lab", "exec", workload, "--", *command), stdin=stdin)
        return Ran(f"{workload}$ {shlex.join(command)}", ran.code, ran.out, ran.err)

    def inside(self, member: str, *command: str, stdin: str = "") -> Ran:
        """A command of the machine's root in a member's network, for what its own user may not see."""
        ran = self._run(self.in_network(member, *command), stdin=stdin)
        return Ran(f"root in {member}'s network# {shlex.join(command)}", ran.code, ran.out, ran.err)

    def in_network(self, member: str, *command: str) -> tuple[str, ...]:
        """The command, to be run in a member's network."""
        return ("ip", "netns", "exec", f"tg-{self._name}-{member}", *command)

    @contextlib.contextmanager
    def running(self, command: tuple[str, ...]) -> Iterator[None]:
        """A further process, as long as the block lasts."""
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.terminate()
            process.wait(COMMAND_SECONDS)

    @property
    def _name(self) -> str:
        return str(yaml.safe_load(Path(self._lab).read_text())["name"])

    def tidegate(self, *arguments: str) -> Ran:
        ran = self._checked((*TIDEGATE, *arguments))
        return Ran(f"tidegate {shlex.join(arguments)}", ran.code, ran.out, ran.err)

    def access_log(self, workload: str) -> list[str]:
        return self._checked((*TIDEGATE, "lab", "logs", workload, "--proxy")).out.splitlines()

    def logged(self, workload: str, *words: str, after: int = 0) -> list[str]:
        """Lines of the sidecar's access log that hold all ``words``; waits until there is one.

        Envoy writes its log once a second. ``after`` is the number of lines that do not count.
        """

        def lines() -> list[str]:
            return [line for line in self.access_log(workload)[after:] if all(word in line for word in words)]

        return self.until(lines, bool)

    def until(self, look: Callable[[], T], good: Callable[[T], bool]) -> T:
        """Look until it is good or time is over; the last look is returned, good or not."""
        deadline = time.monotonic() + EFFECT_SECONDS
        while not good(seen := look()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return seen

    def _run(self, command: tuple[str, ...], *, stdin: str = "", quiet: bool = True, **variables: str) -> Ran:
        done = subprocess.run(
            command,
            input=stdin,
            env=self._environment | variables,
            capture_output=quiet,
            text=True,
            timeout=COMMAND_SECONDS,
            errors="replace",
        )
        return Ran(shlex.join(command), done.returncode, done.stdout or "", done.stderr or "")

    def _checked(self, command: tuple[str, ...], *, quiet: bool = True) -> Ran:
        return _good(self._run(command, quiet=quiet))


def _good(ran: Ran) -> Ran:
    if ran.code != 0:
        raise StageError(f"{ran.line} exited with {ran.code}: {(ran.err or ran.out).strip()}")
    return ran
