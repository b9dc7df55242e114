"""How fast a plain aiortc client and a Loaner worker move a file, each way, in the words of sleap-rtc.

A hub and a worker are started as processes; the client is this one. It sends a package from disk, whose job returns what
was in it, and writes what comes back to disk. Contents are compared, and one line of JSON says what came of it. The
client is given what it can do, as in `bench_aiortc.py`: it waits for the channel's own event, and holds no file in memory.

aiortc gathers no loopback candidates. Where a machine has no other address, or none that should be used:

    tests/interop/in-namespace .venv/bin/python tests/interop/bench_client.py --loaner target/release/loaner --mib 64
"""

import argparse
import asyncio
import contextlib
import hashlib
import io
import json
import os
import sys
import tempfile
import time
import zipfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiortc import RTCDataChannel

from bench_aiortc import stream
from channel import control_word, FROM_WORKER, KEEP_ALIVE
from client import Client
from common import Fatal

JOB = """[job]
name = "bench"
command = "mkdir models && mv payload.bin models"
outputs = "models"
"""


def make_package(path: Path, mib: int) -> str:
    """A package with so many MiB that no compression makes smaller. Their digest comes back."""
    digest = hashlib.blake2b()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("loaner.toml", JOB)
        with archive.open("payload.bin", "w") as file:
            for _ in range(mib):
                block = os.urandom(1024 * 1024)
                digest.update(block)
                file.write(block)
    return digest.hexdigest()


def returned(path: Path) -> str:
    """The digest of what came back."""
    with zipfile.ZipFile(path) as archive, archive.open("payload.bin") as file:
        digest = hashlib.blake2b()
        while block := file.read(1024 * 1024):
            digest.update(block)
        return digest.hexdigest()


class Bench(Client):
    """A client that looks at the clock. It hears only what it needs."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.file: io.BufferedWriter | None = None
        self.results = args.output / "results.zip"
        self.up = self.down = 0.0
        self.began = 0.0
        self.size = 0
        self.over = asyncio.Event()
        self.failed: str | None = None

    async def send_package(self, channel: RTCDataChannel) -> None:
        """The clock runs from here until the worker's first word, which it says when it has unpacked the package."""
        package = self.args.package
        channel.send("PACKAGE_TYPE::train")
        channel.send("OUTPUT_DIR::models")
        self.began = time.perf_counter()
        channel.send(f"FILE_META::{package.name}:{package.stat().st_size}:False")
        with package.open("rb") as file:
            await stream(channel, file)
        channel.send("END_OF_FILE")

    def heard(self, channel: RTCDataChannel, message: str | bytes) -> None:
        """One message of the worker. The clock of the way back runs from the header until the last byte is written."""
        if isinstance(message, bytes):
            if self.file and message != KEEP_ALIVE:
                self.file.write(message)
            return
        if not self.up:
            self.up = time.perf_counter() - self.began
        word = control_word(message, FROM_WORKER)
        if word == "FILE_META::":
            self.size = int(message.split(":")[-2])
            self.file = self.results.open("wb")
            self.began = time.perf_counter()
        elif word == "END_OF_FILE" and self.file:
            self.file.close()
            self.down = time.perf_counter() - self.began
            self.over.set()
        elif word == "TRAIN_JOB_ERROR::":
            self.failed = message
            self.over.set()


@contextlib.asynccontextmanager
async def loaner(program: Path, directory: Path, *args: str) -> AsyncIterator[Process]:
    """A process of Loaner's, which is killed at the end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOANER_")}
    environment = kept | {"XDG_STATE_HOME": str(directory / "state")}
    process = await asyncio.create_subprocess_exec(
        program, *args, "--json", cwd=directory, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def event(process: Process, name: str) -> dict[str, Any]:
    """The next event of that name."""
    assert process.stdout
    async for line in process.stdout:
        if (said := json.loads(line))["event"] == name:
            return said
    raise ConnectionError(f"loaner ended without `{name}`")


async def trip(program: Path, mib: int, directory: Path) -> dict[str, Any]:
    """There and back."""
    package = directory / "bench.zip"
    content = make_package(package, mib)
    async with contextlib.AsyncExitStack() as stack:
        hub = await stack.enter_async_context(
            loaner(program, directory, "hub", "--listen", "127.0.0.1:0", "--store", "memory")
        )
        url = (await event(hub, "listening"))["url"].rstrip("/")
        work = str(directory / "work")
        worker = await stack.enter_async_context(
            loaner(program, directory, "worker", "--allow-commands", "--hub", url, "--work-dir", work)
        )
        session = (await event(worker, "registered"))["session"]
        client = Bench(
            argparse.Namespace(
                ws=url.replace("http", "ws", 1),
                http=url,
                session=session,
                negotiate=False,
                package=package,
                output=directory,
            )
        )
        running = asyncio.create_task(client.main())
        over = asyncio.create_task(client.over.wait())
        await asyncio.wait((running, over), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    if client.failed or not client.over.is_set():
        raise ConnectionError(client.failed or "the client ended early")
    return {
        "bench": "aiortc client, loaner worker",
        "up_mb_per_s": round(package.stat().st_size / 1e6 / client.up, 2),
        "down_mb_per_s": round(client.size / 1e6 / client.down, 2),
        "identical": client.size == client.results.stat().st_size and returned(client.results) == content,
    }


async def main() -> int:
    """Reads the command line; 0 when a file has moved both ways and is the same, 1 when not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loaner", type=Path, required=True, help="the program")
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--timeout", type=float, default=600.0, help="give up after so many seconds")
    args = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-client-") as name:
            async with asyncio.timeout(args.timeout):
                # What the client says of itself goes elsewhere: one line is wanted here.
                with contextlib.redirect_stdout(sys.stderr):
                    result = await trip(args.loaner.resolve(), args.mib, Path(name))
    except (ConnectionError, TimeoutError, Fatal) as error:
        print(f"bench_client: {error or 'out of time; do the two sides see each other?'}", file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0 if result["identical"] else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
