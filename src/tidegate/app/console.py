"""The console as a process: its pages on loopback until it is stopped."""

import asyncio
import signal
from collections.abc import Callable

from tidegate.app.serving import loopback, serving
from tidegate.web.guard import Keys
from tidegate.web.pages import console
from tidegate.web.sources import Sources


async def run(sources: Sources, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT. ``on_ready`` gets the link, which opens once.

    port: 0 for any free one. Raises TidegateError when it cannot be listened on.
    """
    listener = loopback(port, "--port")
    keys = Keys(listener.getsockname()[1])
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with serving(console(sources, keys), listener):
        on_ready(f"http://127.0.0.1:{keys.port}/?token={keys.token}")
        await stopping.wait()
