"""pauseimage.py ARCHIVE NAME: an image that only waits, of Debian's static busybox, for the sandboxes of pods."""

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")


def layer() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        program = tarfile.TarInfo("busybox")
        program.mode, program.size = 0o755, BUSYBOX.stat().st_size
        archive.addfile(program, io.BytesIO(BUSYBOX.read_bytes()))
    return made.getvalue()


def write(archive: Path, name: str) -> None:
    content = layer()
    ids = [f"sha256:{hashlib.sha256(content).hexdigest()}"]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/busybox", "sleep", "2147483647"]},
        "rootfs": {"type": "layers", "diff_ids": ids},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    parts = {"layer.tar": content, "config.json": json.dumps(config), "manifest.json": json.dumps(manifest)}
    with tarfile.open(archive, "w") as made:
        for part, text in parts.items():
            data = text if isinstance(text, bytes) else text.encode()
            entry = tarfile.TarInfo(part)
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2])
