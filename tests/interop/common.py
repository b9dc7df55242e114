"""What the Python peers share: how they report, how they end, and how they connect."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection

LEFT = 0
"""Exit code of a peer that was told to leave."""
NO_HUB = 3
"""Exit code when the hub cannot be reached, refuses, or does not answer."""
NO_WORKER = 4
"""Exit code when there is no worker to talk to, or none that takes the job."""
NO_CONNECTION = 5
"""Exit code when no data channel comes up."""
BROKEN = 6
"""Exit code when a frame came that ends a peer of sleap-rtc too: see `Fatal`."""


class Fatal(Exception):
    """The peer cannot go on. The exit code says why, the text says what."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def report(event: str, **fields: Any) -> None:
    """Tells the test what happened: one JSON object per line on standard output."""
    print(json.dumps({"event": event, **fields}), flush=True)


def connection() -> RTCPeerConnection:
    """A peer connection that asks no STUN server: aiortc's default is a public one."""
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Does several things at once. The first failure ends the others, and is raised as it is."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Does `work` until it ends, or until SIGTERM or SIGINT; the work is cancelled then, and can clean up."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        report("leaving")


def run(peer: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a peer, and ends the process with the code that says how it went."""
    try:
        asyncio.run(until_told(peer()))
    except Fatal as fatal:
        report("fatal", code=fatal.code, why=str(fatal))
        sys.exit(fatal.code)
    report("left")
    sys.exit(LEFT)
