"""All figures: of the pure core, and, as root, of a live lab. Further arguments are the sizes, for both."""

import os
import subprocess
import sys


def main() -> int:
    """The exit code: that of the first benchmark that failed."""
    sizes = sys.argv[1:]
    parts = ["bench.core"]
    if os.geteuid() == 0:
        parts.append("bench.live")
    else:
        print("bench.live is left out: a lab needs root", file=sys.stderr)
    for part in parts:
        print(f"# {part}", flush=True)
        done = subprocess.run([sys.executable, "-m", part, *sizes], check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
