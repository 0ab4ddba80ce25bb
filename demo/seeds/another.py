"""A second lab beside the first, for what a whole control plane has to be told."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stage import Stage


@contextlib.contextmanager
def lab(stage: Stage, folder: str, **environment: str) -> Iterator[Stage]:
    """The lab of demo/seeds/``folder``, whose processes have these variables; gone at the end."""
    with tempfile.TemporaryDirectory(prefix="tg") as base:
        Path(base).chmod(0o755)  # Envoy's user enters
        places = {"TIDEGATE_RUN_DIR": f"{base}/run", "TIDEGATE_STATE_DIR": f"{base}/state"}
        told = Stage(True, f"seeds/{folder}", "seeds", places | environment)
        told.tell = stage.tell
        variables = " ".join(f"{name}={value}" for name, value in environment.items())
        stage.tell(f"{variables} tidegate lab up -f demo/seeds/{folder}/lab.yaml")
        try:
            told.up()
            yield told
        finally:
            told.down()
