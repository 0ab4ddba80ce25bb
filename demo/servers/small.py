"""Real nginx saying who it is: arguments are PORT=NAME, PORT=NAME:STATUS or FIRST-LAST, whose names are the ports."""

import re
import sys

from pages import run

_ARGUMENT = re.compile(r"(\d+)(?:-(\d+)|=([a-z0-9]+)(?::(\d{3}))?)")


def blocks(argument: str) -> str:
    matched = _ARGUMENT.fullmatch(argument)
    if matched is None:
        raise SystemExit(f"{argument!r}: expected PORT=NAME, PORT=NAME:STATUS or FIRST-LAST")
    first, last, name, status = matched.groups()
    ports = range(int(first), int(last or first) + 1)
    return "".join(_block(port, name or str(port), status or "200") for port in ports)


def _block(port: int, name: str, status: str) -> str:
    answer = f'return {status} "{name} $host $remote_addr $server_addr $connection\\n";'
    return f"  server {{ listen {port}; keepalive_requests 100000; location / {{ {answer} }} }}\n"


if __name__ == "__main__":
    run("".join(map(blocks, sys.argv[1:])))
