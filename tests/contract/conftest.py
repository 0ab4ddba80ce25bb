"""One suite, two backends: the embedded API server and a real Kubernetes API server."""

import asyncio
import contextlib
import functools
import importlib.util
import json
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tidegate.api.kinds import KINDS
from tidegate.api.schema import crd_manifests
from tidegate.store.client import KubeStore, path_of
from tidegate.store.model import StoreError, WatchEvent

HISTORY = 400
"""Changes that the embedded server keeps for watches in these tests."""

Json = dict[str, Any]


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


kubetest = _load(Path(__file__).resolve().parent.parent / "kube" / "kubetest.py")


@dataclass(frozen=True)
class Backend:
    name: str
    kubeconfig: Path

    @property
    def embedded(self) -> bool:
        return self.name == "embedded"


@contextlib.contextmanager
def embedded_server(folder: Path, *arguments: str) -> Iterator[tuple[Path, "subprocess.Popen[str]"]]:
    """A server subprocess on loopback: its kubeconfig and its process."""
    command = [sys.executable, "-m", "tidegate", "apiserver", "--state-dir", str(folder / "state"), *arguments]
    with (folder / "apiserver.err").open("a+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            line = kubetest.first_line(process, 60, lambda: (folder / "apiserver.err").read_text())
            yield Path(line.removeprefix("ready KUBECONFIG=")), process
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
            if process.stdout:
                process.stdout.close()


@pytest.fixture(scope="session", params=["embedded", pytest.param("kube", marks=pytest.mark.kube)])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    folder = tmp_path_factory.mktemp(f"store-{request.param}")
    if request.param == "embedded":
        with embedded_server(folder, "--history", str(HISTORY)) as (kubeconfig, _):
            yield Backend("embedded", kubeconfig)
        return
    if reason := kubetest.unavailable():
        pytest.skip(reason)
    with kubetest.control_plane(folder) as kubeconfig:
        asyncio.run(_install_definitions(kubeconfig))
        yield Backend("kube", kubeconfig)


async def _install_definitions(kubeconfig: Path) -> None:
    """Apply the CustomResourceDefinitions and wait until they are served."""
    root = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    async with KubeStore.from_kubeconfig(kubeconfig) as api:
        for manifest in crd_manifests():
            answer = await api.request("POST", root, manifest)
            assert answer.code == 201, answer.body
        for kind in (k for k in KINDS.values() if k.strict):
            for version in kind.versions:
                await eventually(functools.partial(_served, api, path_of(kind, version=version)))


async def _served(api: KubeStore, path: str) -> bool:
    return (await api.request("GET", path)).code == 200


async def eventually(check: Callable[[], Awaitable[Any]], seconds: float = 60) -> Any:
    """The first true result of ``check`` before a deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = await check()
        if found:
            return found
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.1)


@pytest.fixture(scope="session", name="eventually")
def _eventually() -> Callable[..., Awaitable[Any]]:
    return eventually


@pytest.fixture
async def api(backend: Backend) -> AsyncIterator[KubeStore]:
    async with KubeStore.from_kubeconfig(backend.kubeconfig) as store:
        yield store


@pytest.fixture
async def ns(api: KubeStore) -> AsyncIterator[str]:
    """A namespace of the test's own, with its default ServiceAccount."""
    name = f"store-{secrets.token_hex(4)}"
    await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    async def account() -> bool:
        return (await api.request("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default")).code == 200

    await eventually(account)
    yield name
    with contextlib.suppress(StoreError):
        await api.delete("Namespace", "", name)


@pytest.fixture
def watched(api: KubeStore) -> Callable[..., Awaitable[list[Json]]]:
    """All that a watch says in some seconds of its own time."""

    async def collect(path: str, seconds: int, **query: str) -> list[Json]:
        parameters = {"watch": "true", "timeoutSeconds": str(seconds), **query}
        answer = await api.request("GET", path, query=parameters)
        assert answer.code == 200, answer.body
        return [json.loads(line) for line in answer.body.splitlines()]

    return collect


async def take(events: AsyncIterator[WatchEvent], count: int, seconds: float = 30) -> list[WatchEvent]:
    """The next ``count`` events that are no bookmarks."""
    found: list[WatchEvent] = []
    async with asyncio.timeout(seconds):
        async for event in events:
            if event.type != "BOOKMARK":
                found.append(event)
            if len(found) == count:
                break
    return found


@pytest.fixture(scope="session", name="take")
def _take() -> Callable[..., Awaitable[list[WatchEvent]]]:
    return take


@dataclass(frozen=True)
class Kubectl:
    binary: str
    kubeconfig: Path
    cache: Path

    def arguments(self, *arguments: str) -> list[str]:
        return [self.binary, f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.cache}", *arguments]

    def __call__(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        done = subprocess.run(self.arguments(*arguments), input=stdin, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def kubectl(backend: Backend, tmp_path: Path) -> Kubectl:
    beside = Path(sys.executable).parent / "kubectl"
    binary = str(beside) if beside.exists() else shutil.which("kubectl")
    if binary is None:
        pytest.skip("kubectl is neither beside the interpreter nor on the PATH")
    return Kubectl(binary, backend.kubeconfig, tmp_path / "cache")


def config_map(ns: str, name: str = "a", **more: Any) -> Json:
    meta = {"name": name, "namespace": ns, **more.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"k": "v"}, **more}


def service_entry(ns: str, name: str = "ext", **spec: Any) -> Json:
    """With an address of its own, so that no controller gives it one and so writes it meanwhile."""
    body = {
        "hosts": ["example.com"],
        "addresses": ["192.0.2.80"],
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "location": "MESH_EXTERNAL",
        "resolution": "STATIC",
        "endpoints": [{"address": "10.1.1.1"}],
        **spec,
    }
    meta = {"name": name, "namespace": ns}
    return {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": meta, "spec": body}


@pytest.fixture(scope="session", name="config_map")
def _config_map() -> Callable[..., Json]:
    return config_map


@pytest.fixture(scope="session", name="service_entry")
def _service_entry() -> Callable[..., Json]:
    return service_entry


@pytest.fixture(scope="session", name="embedded_server")
def _embedded_server() -> Callable[..., Any]:
    return embedded_server
