"""``up`` and ``down``: who may, and in which order."""

import asyncio
import contextlib
import os
import shutil
from pathlib import Path

from tidegate.kit.errors import TidegateError
from tidegate.kit.places import DISCOVERY_ADDRESS
from tidegate.lab import namespaces, network, processes, settle
from tidegate.lab.launch import Started
from tidegate.lab.plan import Plan, netns_prefix
from tidegate.lab.state import Folders, Lock, Owner, State, lock, read_state
from tidegate.lab.up import Builder, Reporter, missing_tools

GRACE_SECONDS = 2.0


def up(plan: Plan, file: Path, folders: Folders, report: Reporter) -> None:
    """Build a lab. What a failure leaves behind is for ``down``, and the error says so."""
    _check_machine()
    name = plan.spec.name
    with lock(folders) as held:
        _check_free(held, plan, folders)
        state = _begin(held, plan, file, folders)
        try:
            asyncio.run(Builder(plan, folders, state, report).build())
        except (TidegateError, OSError, KeyboardInterrupt) as error:
            what = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
            hint = f"lab {name} is half-built: `tidegate lab down --name {name}` removes it"
            raise TidegateError(f"{what}\n{hint}") from error


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise TidegateError("a lab makes network namespaces: run it as root")
    if missing := missing_tools():
        raise TidegateError(f"{', '.join(missing)} not found: install Debian's package iptables")


def _check_free(held: Lock, plan: Plan, folders: Folders) -> None:
    owner = held.owner
    if owner is not None and (owner.lab, owner.state_dir) != (plan.spec.name, str(folders.state)):
        raise TidegateError(
            f"lab {owner.lab} has the run folder {folders.run}; end it (tidegate lab --state-dir {owner.state_dir} "
            f"down --name {owner.lab}), or use another --run-dir"
        )
    state = read_state(folders.lab(plan.spec.name))
    if state is not None:
        what = "is up" if state.complete else "is half-built"
        raise TidegateError(f"lab {plan.spec.name} {what}: `tidegate lab down --name {plan.spec.name}` removes it")
    if left := namespaces.existing(netns_prefix(plan.spec.name)):
        raise TidegateError(
            f"namespace {left[0]} exists already, from another lab named {plan.spec.name}; choose another name, "
            f"or remove it (tidegate lab down --name {plan.spec.name})"
        )


def _begin(held: Lock, plan: Plan, file: Path, folders: Folders) -> State:
    """Write down what is about to be made, and make the folders."""
    folder = folders.lab(plan.spec.name)
    state = State(
        name=plan.spec.name,
        run_dir=str(folders.run),
        file=str(file),
        plan=plan,
    )
    try:
        held.write(Owner(plan.spec.name, str(folders.state)))
        for path in (folder.path, folder.path / "homes"):
            path.mkdir(mode=0o711, parents=True, exist_ok=True)
        (folder.path / "logs").mkdir(mode=0o750, exist_ok=True)
        state.save(folder)
    except OSError as error:
        raise TidegateError(f"cannot write {folder.path}: {error.strerror}") from error
    return state


def down(name: str, folders: Folders, report: Reporter) -> bool:
    """Remove all of a lab, however much of it there is; False when there was nothing.

    Works from the kernel's side too (namespaces by their prefix, processes by mark and namespace), so that a lost
    state file or a step that was never written down leaves nothing behind.
    """
    if os.geteuid() != 0:
        raise TidegateError("a lab has network namespaces: remove it as root")
    with lock(folders) as held:
        folder = folders.lab(name)
        state = read_state(folder)
        ended = _end_node(state) + _end_processes(name, folders, state, namespaces.existing(netns_prefix(name)))
        there_are = namespaces.existing(netns_prefix(name))
        for namespace in there_are:
            network.remove(namespace)
        there = bool(there_are or ended or folder.path.exists())
        if folder.path.exists():
            shutil.rmtree(folder.path)
        _clear_run_folder(held, name, folders, state)
        if there:
            report(f"removed {ended} processes, {len(there_are)} namespaces and {folder.path}")
    return there


def _end_node(state: State | None) -> int:
    """First of all, so that nothing starts again what is ended then."""
    node = state.processes.get("node") if state else None
    if node is None or not processes.alive(node):
        return 0
    processes.end(lambda: [node] if processes.alive(node) else [], GRACE_SECONDS)
    return 1


def _end_processes(name: str, folders: Folders, state: State | None, netns: list[str]) -> int:
    mark = settle.mark(folders, name)
    recorded = list(state.processes.values()) if state else []

    def find() -> list[Started]:
        found = {process.pid: process for process in processes.belonging(mark, netns)}
        found |= {process.pid: process for process in recorded if processes.alive(process)}
        return list(found.values())

    count = len(find())
    if left := processes.end(find, GRACE_SECONDS):
        pids = ", ".join(str(process.pid) for process in left)
        raise TidegateError(f"lab {name}: processes {pids} cannot be ended; nothing else was removed; try again")
    return count


def _clear_run_folder(held: Lock, name: str, folders: Folders, state: State | None) -> None:
    """Remove this lab's sockets, and the run folder if nothing else is in it."""
    if held.owner is None or held.owner.lab == name:
        for key in state.plan.proxies if state else ():
            shutil.rmtree(folders.run / "proxies" / key, ignore_errors=True)
        if state is None:
            shutil.rmtree(folders.run / "proxies", ignore_errors=True)
        for path in (*folders.run.glob("xds.sock*"), folders.run / DISCOVERY_ADDRESS):
            path.unlink(missing_ok=True)
        held.remove()
    for path in (folders.run / "proxies", folders.run, folders.state / "labs", folders.state):
        with contextlib.suppress(OSError):
            path.rmdir()
