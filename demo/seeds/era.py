"""An Envoy by itself, for what the sidecars no longer do."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from stage import Stage

from tidegate.kit.envoy_binary import find

HERE = Path(__file__).resolve().parent


@contextlib.contextmanager
def envoy(stage: Stage, member: str, file: str, port: int) -> Iterator[None]:
    """Envoy with this configuration of demo/seeds in a member's network; ``port`` is one that it listens on."""
    stage.tell(f"envoy -c demo/seeds/{file}, by itself, in {member}'s network")
    command = stage.in_network(member, str(find(None)), "-c", str(HERE / file), "--disable-hot-restart", "-l", "error")
    with stage.running(command):
        stage.until(lambda: stage.inside(member, "nc", "-z", "127.0.0.1", str(port)), lambda ran: ran.code == 0)
        yield
