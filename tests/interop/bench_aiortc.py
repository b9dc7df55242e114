"""How fast plain aiortc moves a file, to have something to compare with.

Two processes, `send` and `receive`, meet through a directory and move one file from disk to disk over an ordered, reliable
data channel in messages of 64 KiB. `pair` makes a file, runs both, and prints one line of JSON. aiortc is given what it
can do: the sender waits for the channel's own event instead of polling, and neither side holds the file in memory.

aiortc gathers no loopback candidates. Where a machine has no other address, or none that should be used:

    tests/interop/in-namespace .venv/bin/python tests/interop/bench_aiortc.py pair --mib 64
"""

import argparse
import asyncio
import hashlib
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, BinaryIO

from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from common import connection

MESSAGE = 65536
LOW_WATER = 4 * 1024 * 1024
HIGH_WATER = 16 * 1024 * 1024
MEETING = 30.0
"""How long one side waits for the other, in seconds."""
LOOK = 0.02
"""How often is looked for the other side's description, in seconds."""


def leave_description(directory: Path, pc: RTCPeerConnection) -> None:
    """Puts this side's description where the other side finds it, whole or not at all."""
    description = pc.localDescription
    part = directory / f"{description.type}.part"
    part.write_text(description.sdp)
    part.rename(directory / description.type)


async def find_description(directory: Path, kind: str) -> RTCSessionDescription:
    """Waits for the other side's description."""
    path = directory / kind
    async with asyncio.timeout(MEETING):
        while not path.exists():
            await asyncio.sleep(LOOK)
    return RTCSessionDescription(path.read_text(), kind)


def digest(path: Path) -> str:
    """The file's BLAKE2b."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def peak_mib() -> float:
    """The most memory that this process has had so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


async def stream(channel: RTCDataChannel, file: BinaryIO) -> None:
    """Sends the file's bytes, as fast as the channel takes them."""
    room = asyncio.Event()
    channel.bufferedAmountLowThreshold = LOW_WATER
    channel.on("bufferedamountlow", room.set)
    while chunk := file.read(MESSAGE):
        while channel.bufferedAmount > HIGH_WATER:
            room.clear()
            await room.wait()
        channel.send(chunk)


async def send(meet: Path, path: Path) -> dict[str, Any]:
    """Offers, sends, and waits until the other side has the file; what came of it.

    The clock runs from the first byte until the receiver says that it has written the last one. Opening the connection
    and comparing the contents are not counted.
    """
    content = digest(path)
    pc = connection()
    opened = asyncio.Event()
    words: asyncio.Queue[str] = asyncio.Queue()
    channel = pc.createDataChannel("bench")
    channel.on("open", opened.set)
    channel.on("message", words.put_nowait)
    channel.on("close", lambda: words.put_nowait("closed"))
    try:
        await pc.setLocalDescription(await pc.createOffer())
        leave_description(meet, pc)
        await pc.setRemoteDescription(await find_description(meet, "answer"))
        await asyncio.wait_for(opened.wait(), MEETING)
        began = time.perf_counter()
        with path.open("rb") as file:
            await stream(channel, file)
        channel.send("END_OF_FILE")
        if (word := await words.get()) != "RECEIVED":
            raise ConnectionError(f"the receiver says: {word}")
        seconds = time.perf_counter() - began
        received = json.loads(await words.get())
    finally:
        await pc.close()
    size = path.stat().st_size
    return {
        "bench": "aiortc",
        "bytes": size,
        "seconds": round(seconds, 3),
        "mb_per_s": round(size / 1e6 / seconds, 2),
        "identical": received["blake2b"] == content,
        "sender_peak_mib": peak_mib(),
        "receiver_peak_mib": received["peak_mib"],
    }


async def receive(meet: Path, path: Path) -> None:
    """Answers, writes what comes to `path`, and says what it was."""
    pc = connection()
    closed = asyncio.Event()

    @pc.on("datachannel")
    def serve(channel: RTCDataChannel) -> None:
        file = path.open("wb")
        channel.on("close", closed.set)

        @channel.on("message")
        def take(message: str | bytes) -> None:
            if isinstance(message, bytes):
                file.write(message)
                return
            file.close()
            channel.send("RECEIVED")
            channel.send(json.dumps({"blake2b": digest(path), "peak_mib": peak_mib()}))

    try:
        await pc.setRemoteDescription(await find_description(meet, "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        leave_description(meet, pc)
        await closed.wait()
    finally:
        await pc.close()


async def pair(mib: int) -> dict[str, Any]:
    """Makes a file of `mib` MiB, runs both sides as processes of their own, and passes on what the sender says."""
    with tempfile.TemporaryDirectory(prefix="bench-aiortc-") as name:
        directory = Path(name)
        original, copy = directory / "original", directory / "copy"
        with original.open("wb") as file:
            for _ in range(mib):
                file.write(os.urandom(1024 * 1024))
        start = asyncio.create_subprocess_exec
        me = (sys.executable, __file__, "--meet", name)
        receiver = await start(*me, "receive", str(copy))
        sender = await start(*me, "send", str(original), stdout=asyncio.subprocess.PIPE)
        try:
            output, _ = await sender.communicate()
            if sender.returncode != 0 or await receiver.wait() != 0:
                raise ConnectionError("sender or receiver failed")
        finally:
            for process in (sender, receiver):
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        return json.loads(output)


async def main() -> int:
    """Reads the command line; 0 when a file has moved and is the same, 1 when not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meet", type=Path, default=Path("."), help="the directory where the two sides meet")
    parser.add_argument("--timeout", type=float, default=600.0, help="give up after so many seconds")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("send", help="send a file").add_argument("file", type=Path)
    commands.add_parser("receive", help="receive it").add_argument("file", type=Path)
    commands.add_parser("pair", help="do both").add_argument("--mib", type=int, default=64)
    args = parser.parse_args()
    try:
        async with asyncio.timeout(args.timeout):
            match args.command:
                case "receive":
                    await receive(args.meet, args.file)
                    return 0
                case "send":
                    result = await send(args.meet, args.file)
                case _:
                    result = await pair(args.mib)
    except (ConnectionError, TimeoutError) as error:
        print(f"bench_aiortc: {error or 'out of time; do the two sides see each other?'}", file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0 if result["identical"] else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
