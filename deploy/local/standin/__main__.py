"""`python -m deploy.local.standin`: prints one line with its URL, runs until SIGINT or SIGTERM."""

import asyncio
import json
import signal

import uvloop

from deploy.local.standin.server import serving
from deploy.local.standin.settings import Settings, from_command_line


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serving(settings) as url:
        print(json.dumps({"url": url}), flush=True)
        await stop.wait()


def main() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(from_command_line()))


if __name__ == "__main__":
    main()
