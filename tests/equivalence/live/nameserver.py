"""Runs inside the Pod's network namespace: the agent's own name server behind the rules that capture queries.

Arguments: the domain of the workload's names, and the server that queries are passed on to. Each line of standard
input is a name table; how many names the server knows then is told.
"""

import asyncio
import json
import sys

from tidegate.agent.dnsforward import ResolverSettings
from tidegate.agent.dnsserver import DnsServer
from tidegate.kit.nametable import NameInfo

GROUP = 1337


async def main() -> None:
    server = DnsServer(sys.argv[1], ResolverSettings(((sys.argv[2], 53),), ()), GROUP)
    async with await server.serve():
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            server.replace({name: NameInfo(tuple(ips), registry) for name, (ips, registry) in json.loads(line).items()})
            print(server.known, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
