"""What the tests of a cluster share: kubectl of the cluster's own version, and waiting."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.kube import kubetest

T = TypeVar("T")
Json = dict[str, Any]
TIDEGATE = [sys.executable, "-m", "tidegate"]


@dataclass(frozen=True)
class Cluster:
    """A cluster, as its administrator reaches it."""

    kubeconfig: Path
    within: tuple[str, ...] = ()
    """The command that runs kubectl where the API server can be reached."""

    def kubectl(self, *arguments: str, stdin: str = "", code: int = 0, seconds: float = 120) -> str:
        """Standard output; with another exit code than 0 expected, what was said on standard error."""
        done = self.tried(*arguments, stdin=stdin, seconds=seconds)
        assert done.returncode == code, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stderr if code else done.stdout

    def command(self, *arguments: str) -> "list[str | Path]":
        """What runs kubectl."""
        return [*self.within, kubetest.binary(), "kubectl", f"--kubeconfig={self.kubeconfig}", *arguments]

    def tried(self, *arguments: str, stdin: str = "", seconds: float = 120) -> "subprocess.CompletedProcess[str]":
        """kubectl, whatever becomes of it."""
        return subprocess.run(self.command(*arguments), input=stdin, capture_output=True, text=True, timeout=seconds)

    def apply(self, *objects: Json) -> None:
        self.kubectl("apply", "--server-side", "-f", "-", stdin=listed(*objects))

    def create(self, pod: Json, code: int = 0) -> str:
        return self.kubectl("create", "-f", "-", stdin=json.dumps(pod), code=code)

    def get(self, kind: str, name: str, namespace: str = "default") -> Json:
        found: Json = json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def list(self, kind: str, namespace: str, labels: str = "") -> "list[Json]":
        found: list[Json] = json.loads(
            self.kubectl("get", kind, "-n", namespace, *(["-l", labels] if labels else []), "-o", "json")
        )["items"]
        return found

    def rolled_out(self, deployment: str, namespace: str, told: Callable[[], str] = str) -> None:
        """Wait until a Deployment's pods are ready; else tell what became of them."""
        words = ("rollout", "status", f"deployment/{deployment}", "-n", namespace, "--timeout=90s")
        if self.tried(*words).returncode:
            events = self.tried("get", "events,pods", "-n", namespace).stdout
            logs = self.tried("logs", f"deployment/{deployment}", "-n", namespace, "--all-containers").stdout
            raise AssertionError(f"{deployment} is not ready:\n{events}\n{logs}\n{told()}")


def listed(*objects: Json) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def namespace(name: str, **labels: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def eventually(check: Callable[[], T], seconds: float = 60, told: Callable[[], str] = str) -> T:
    """The first true result before a deadline; ``told`` says what else to show when there is none."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"it did not come true within {seconds:.0f} s; last {found!r} {told()}"
        time.sleep(0.1)
    return found
