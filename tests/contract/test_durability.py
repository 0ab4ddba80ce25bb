"""What the embedded server promises of its disk: nothing acknowledged is lost, a full disk harms nobody."""

import asyncio
import os
import resource
import signal
import stat
import subprocess
import sys
from functools import partial

import pytest

from tidegate.store.client import KubeStore
from tidegate.store.model import StoreError

WRITES = 10_000
WRITERS = 200


async def _write(api, config_map, names, acknowledged):
    """Create until the names are used up or the server is gone."""
    for name in names:
        try:
            made = await api.create(config_map("default", name))
        except StoreError as failure:
            assert failure.code == 0, failure
            return
        acknowledged[name] = made["metadata"]["resourceVersion"]


async def _reached(acknowledged, count):
    return len(acknowledged) >= count


async def test_a_killed_server_loses_nothing_acknowledged(tmp_path, embedded_server, config_map, eventually):
    acknowledged: dict[str, str] = {}
    names = iter([f"n{i}" for i in range(WRITES)])
    with embedded_server(tmp_path) as (kubeconfig, process):
        async with KubeStore.from_kubeconfig(kubeconfig) as api:
            writers = [asyncio.create_task(_write(api, config_map, names, acknowledged)) for _ in range(WRITERS)]
            await eventually(partial(_reached, acknowledged, WRITES // 4))
            os.kill(process.pid, signal.SIGKILL)
            await asyncio.gather(*writers)
    assert WRITES // 4 <= len(acknowledged) < WRITES
    with embedded_server(tmp_path) as (kubeconfig, _):
        async with KubeStore.from_kubeconfig(kubeconfig) as api:
            found = await api.list("ConfigMap", "default")
            versions = {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in found.items}
            lost = {name for name, version in acknowledged.items() if versions.get(name) != version}
            assert not lost, sorted(lost)[:10]
            made = await api.create(config_map("default", "after"))
            assert int(made["metadata"]["resourceVersion"]) > max(map(int, versions.values()))


async def test_watches_resume_over_a_restart(tmp_path, embedded_server, config_map, take):
    with embedded_server(tmp_path) as (kubeconfig, _):
        async with KubeStore.from_kubeconfig(kubeconfig) as api:
            first = await api.create(config_map("default", "a"))
            await api.create(config_map("default", "b"))
    with embedded_server(tmp_path) as (kubeconfig, _):
        async with KubeStore.from_kubeconfig(kubeconfig) as api:
            version = first["metadata"]["resourceVersion"]
            events = await take(api.watch("ConfigMap", version, "default"), 1)
    assert events[0].object["metadata"]["name"] == "b"


async def test_sigterm_ends_watches_and_the_server(tmp_path, embedded_server):
    with embedded_server(tmp_path) as (kubeconfig, process):
        async with KubeStore.from_kubeconfig(kubeconfig) as api:
            version = (await api.list("Secret")).resource_version

            async def follow():
                return [event async for event in api.watch("Secret", version)]

            watching = asyncio.create_task(follow())
            await asyncio.sleep(0.3)
            process.terminate()
            async with asyncio.timeout(30):
                assert await watching == []
        assert process.wait(30) == 0


def test_one_server_for_one_state_folder(tmp_path, embedded_server):
    with embedded_server(tmp_path):
        command = [sys.executable, "-m", "tidegate", "apiserver", "--state-dir", str(tmp_path / "state")]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert "another apiserver works on" in second.stderr


def test_files_are_private(tmp_path, embedded_server):
    with embedded_server(tmp_path):
        files = list((tmp_path / "state").rglob("*"))
        for path in files:
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))
        assert {"kubeconfig", "store.db", "pki"} <= {path.name for path in files}


async def test_a_store_that_cannot_grow_refuses_writes_and_goes_on(tmp_path, embedded_server, config_map):
    with embedded_server(tmp_path) as (kubeconfig, process):
        async with KubeStore.from_kubeconfig(kubeconfig) as api:
            kept = await api.create(config_map("default", "kept"))
            before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1_000_000, before[1]))
            with pytest.raises(StoreError) as caught:
                for n in range(50):
                    await api.create(config_map("default", f"big{n}", data={"k": "x" * 100_000}))
            assert caught.value.code in (500, 507) and "nothing was" in str(caught.value)
            assert await api.get("ConfigMap", "default", "kept") == kept
            stored = {o["metadata"]["name"] for o in (await api.list("ConfigMap", "default")).items}
            assert f"big{len(stored)}" not in stored
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)
            assert await api.create(config_map("default", "again"))
