"""All figures: of the pure core, of offline compilation, of many sidecars at once, and, as root, of capture and a lab.

Further arguments are the sizes, in services, of the core, the compilation and the lab.
"""

import os
import subprocess
import sys


def main() -> int:
    """The exit code: that of the first benchmark that failed."""
    sizes = sys.argv[1:]
    parts = [["bench.core", *sizes], ["bench.offline", *sizes], ["bench.clients"], ["bench.dns"], ["bench.injection"]]
    if os.geteuid() == 0:
        parts += [["bench.modes"], ["bench.live", *sizes]]
    else:
        print("bench.modes and bench.live are left out: network namespaces need root", file=sys.stderr)
    for part in parts:
        print(f"# {part[0]}", flush=True)
        done = subprocess.run([sys.executable, "-m", *part], check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
