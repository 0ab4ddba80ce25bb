"""What EnvoyFilters merge into the bootstrap (``applyTo: BOOTSTRAP``): asked for once, before Envoy starts.

The control plane tells the values alone; they are merged over the bootstrap made here, and tried with Envoy. Whatever
goes wrong is told and costs the patches, never the proxy.
"""

import asyncio
import contextlib
import logging
import re
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from grpc.aio import EOF  # type: ignore[attr-defined]  # the stubs lack it

from tidegate.agent.bootstrap import as_text, bootstrap
from tidegate.agent.process import SHOWN_LINES, arguments, as_user, give, reachable
from tidegate.agent.relay import METHOD, read_token
from tidegate.agent.settings import Settings
from tidegate.agent.upstream import Upstream
from tidegate.kit.bootstraps import MESSAGE, NAME, TYPE_URL
from tidegate.kit.errors import TidegateError

log = logging.getLogger(__name__)

WAIT_SECONDS = 10.0
"""How long the control plane may take to answer, attempts that fail included."""
AGAIN_SECONDS = 0.5
TRY_SECONDS = 20.0
"""How long Envoy may take to look at a bootstrap."""
_KEPT = ("node.id", "admin.address", "dynamic_resources")
"""What the agent and its control plane reach Envoy by, and Envoy them."""
_ANY = re.compile(rb"type\.googleapis\.com/([A-Za-z0-9_.]+)")
_REFUSAL = re.compile(r"error initializing configuration '[^']*': (.*?)(?:\tthread=|\",\"caller\"|$)", re.DOTALL)
_MOST_OUTPUT = 65536


class PatchError(TidegateError):
    """The bootstrap cannot be patched; the reason is for people."""


async def write_patched(settings: Settings, upstream: Upstream) -> None:
    """Ask for the patches and write the bootstrap with them in place of the one without; returns in bounded time."""
    fresh = settings.bootstrap_file.with_name("bootstrap.patched.json")
    try:
        body = await ask(settings, upstream)
        if not body:
            log.info("no EnvoyFilter changes the bootstrap")
            return
        found, kept = merged(bootstrap(settings), body)
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)  # a patch may hold secrets
        give(fresh, settings.identity)
        fresh.write_bytes(as_text(found))
        await _try(settings, fresh)
        fresh.replace(settings.bootstrap_file)
    except (TidegateError, OSError) as error:
        log.warning("Envoy starts without the bootstrap patches of EnvoyFilters: %s", error)
        return
    finally:
        fresh.unlink(missing_ok=True)
    log.info("EnvoyFilters were merged into the bootstrap")
    for path in kept:
        log.warning("bootstrap: %s stays as it was: an EnvoyFilter would cut Envoy off from its agent by it", path)


# Asking


async def ask(settings: Settings, upstream: Upstream) -> bytes:
    """The patches as one encoded Bootstrap; empty where there are none. Raises PatchError when nobody answers."""
    reason = "no answer"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                try:
                    return await _ask_once(settings, upstream)
                except (TidegateError, OSError) as error:
                    reason = str(error)
                await asyncio.sleep(AGAIN_SECONDS)
    raise PatchError(f"the control plane did not tell them within {WAIT_SECONDS:.0f} s: {reason}")


async def _ask_once(settings: Settings, upstream: Upstream) -> bytes:
    token = read_token(settings.token_file)
    if problem := await upstream.problem():
        raise PatchError(problem)
    async with upstream.channel() as channel:
        call = channel.stream_stream(METHOD)(metadata=(("authorization", f"Bearer {token}"),))
        try:
            await call.write(request(settings))
            while (response := await call.read()) is not EOF:
                if (body := answer(response)) is not None:
                    return body
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:  # a write after the end knows not why
            raise PatchError(f"{(await call.code()).name}: {await call.details()}") from error
        finally:
            call.cancel()
    raise PatchError("the stream ended")


def request(settings: Settings) -> bytes:
    """The first request of a stream that asks for the patches of this node."""
    from envoy.service.discovery.v3 import discovery_pb2
    from google.protobuf.json_format import ParseDict

    message = discovery_pb2.DeltaDiscoveryRequest(type_url=TYPE_URL, resource_names_subscribe=[NAME])
    ParseDict(bootstrap(settings)["node"], message.node)
    data: bytes = message.SerializeToString()
    return data


def answer(response: bytes) -> bytes | None:
    """The patches in a response, empty where it says that there are none; None where it speaks of something else."""
    from envoy.service.discovery.v3 import discovery_pb2

    message = discovery_pb2.DeltaDiscoveryResponse.FromString(response)
    if message.type_url != TYPE_URL:
        return None
    return next((bytes(each.resource.value) for each in message.resources if each.name == NAME), b"")


# Merging


def merged(own: dict[str, Any], body: bytes) -> tuple[dict[str, Any], list[str]]:
    """A bootstrap with the patches merged over it, and the paths of what was kept from them. Raises PatchError."""
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError

    from tidegate.envoy.patches.merge import merge
    from tidegate.kit import envoy_messages

    base, target = envoy_messages.decode(MESSAGE, own), envoy_messages.decode(MESSAGE, own)
    for name in _ANY.findall(body):
        envoy_messages.type_of_url(name.decode())
    try:
        merge(target, type(target).FromString(body))
        kept = [path for path in _KEPT if _restore(target, base, path.split("."))]
        return MessageToDict(target, preserving_proto_field_name=True), kept
    except (DecodeError, TypeError, ValueError) as error:
        raise PatchError(f"they cannot be read: {error}") from error


def _restore(target: Any, base: Any, path: list[str]) -> bool:
    """Put one part back as it was; True where that changes something."""
    *above, name = path
    for part in above:
        target, base = getattr(target, part), getattr(base, part)
    if getattr(target, name) == getattr(base, name):
        return False
    if isinstance(getattr(base, name), str):
        setattr(target, name, getattr(base, name))
    else:
        getattr(target, name).CopyFrom(getattr(base, name))
    return True


# Trying


async def _try(settings: Settings, file: Path) -> None:
    """Let Envoy look at a bootstrap. Raises PatchError with its words where it refuses it."""
    with reachable(settings.envoy) as (path, binary):
        process = await asyncio.create_subprocess_exec(
            *as_user(settings),
            *arguments(settings, path, file),
            "--mode",
            "validate",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=(binary,),
            cwd="/",
        )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), TRY_SECONDS)
    except TimeoutError:
        raise PatchError(f"Envoy did not say within {TRY_SECONDS:.0f} s whether it takes them") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise PatchError(f"Envoy refuses them: {_reason(output[-_MOST_OUTPUT:]) or f'exit code {process.returncode}'}")


def _reason(output: bytes) -> str:
    """What Envoy says of a bootstrap, without when and where it says so."""
    text = output.decode(errors="replace").strip()
    found = _REFUSAL.search(text)
    return found[1].strip() if found else " | ".join(text.splitlines()[-SHOWN_LINES:])
