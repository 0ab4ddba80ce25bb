"""The agent's name server of a workload, with one name of its own; every other name is passed on.

Argument: a JSON object with ``address``, ``knows`` and ``means`` (its address), ``resolver`` and ``group``.
"""

import asyncio
import json
import sys

from tidegate.agent.dnsforward import ResolverSettings
from tidegate.agent.dnsserver import DnsServer
from tidegate.kit.nametable import NameInfo

GIVEN = json.loads(sys.argv[1])


async def main() -> None:
    server = DnsServer("shop.svc.cluster.local", ResolverSettings(((GIVEN["resolver"], 53),)), GIVEN["group"])
    server.replace({GIVEN["knows"]: NameInfo((GIVEN["means"],), "Kubernetes")})
    async with await server.serve((GIVEN["address"],)):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
