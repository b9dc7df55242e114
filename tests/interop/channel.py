"""The data channel of a sleap-rtc peer: files as raw binary messages between two texts, and texts told apart by substring.

Neither size nor content of a file is ever checked, as in the original: the tests do that.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiortc import RTCDataChannel

from common import report

LABEL = "my-data-channel"
CLIENT_CHUNK = 65536
WORKER_CHUNK = 32768
HIGH_WATER = 16 * 1024 * 1024
"""Bytes that may wait in the channel before the sender pauses."""
PAUSE = 0.1
"""How often the original looks whether there is room again, in seconds. aiortc's channel has an event for it, which the
original does not use."""
KEEP_ALIVE = b"KEEP_ALIVE"
BEAT = 15.0
"""Seconds between keep-alives."""

FROM_WORKER = (
    "END_OF_FILE",
    "PROGRESS_REPORT::",
    "FILE_META::",
    "TRAIN_JOB_START::",
    "TRAIN_JOB_END::",
    "TRAIN_JOB_ERROR::",
    "TRAINING_JOBS_DONE",
)
"""What a client looks for in each text, in this order; whatever has none of them is job output."""
INFERENCE_FROM_WORKER = (
    "END_OF_FILE",
    "FILE_META::",
    "INFERENCE_START",
    "INFERENCE_JOB_START::",
    "INFERENCE_JOB_END::",
    "INFERENCE_JOB_ERROR::",
    "INFERENCE_ERROR::",
    "INFERENCE_JOBS_DONE",
    "TRACK_LOG:",
)
"""The same of a client for inference. Output has a word of its own, which is looked for last."""
FROM_CLIENT = ("END_OF_FILE", "JOB_ID::", "INPUT_FILE::", "PACKAGE_TYPE::", "OUTPUT_DIR::", "FILE_META::", "ZMQ_CTRL::")
"""What a worker looks for in each text, in this order."""


def control_word(text: str, words: Sequence[str]) -> str | None:
    """The first of the words that stands *anywhere* in the text: this is how the original reads, and what a log line
    must survive."""
    return next((word for word in words if word in text), None)


async def send_file(
    channel: RTCDataChannel, path: Path, announced: str, third: str, chunk: int, *, interleave: bool = False
) -> None:
    """Sends a file back to back, without waiting for anybody.

    `third` is the last field of the header. With `interleave`, a keep-alive stands between any two chunks, where it may
    stand and is no part of the file.
    """
    content = path.read_bytes()
    channel.send(f"FILE_META::{announced}:{len(content)}:{third}")
    for start in range(0, len(content), chunk):
        while channel.bufferedAmount is not None and channel.bufferedAmount > HIGH_WATER:
            await asyncio.sleep(PAUSE)
        channel.send(content[start : start + chunk])
        if interleave:
            channel.send(KEEP_ALIVE)
    channel.send("END_OF_FILE")


async def keep_alive(channel: RTCDataChannel) -> None:
    """Beats for as long as the channel is open."""
    while True:
        await asyncio.sleep(BEAT)
        if channel.readyState != "open":
            return
        channel.send(KEEP_ALIVE)


class Incoming:
    """The file that is being received, whole in memory as in the original."""

    def __init__(self, header: str) -> None:
        name, size, third = header.split("FILE_META::", 1)[1].split(":")
        self.name, self.size, self.third = name, int(size), third
        self.content = bytearray()
        self.chunks: list[int] = []

    def take(self, chunk: bytes) -> None:
        """Appends a binary message."""
        self.content += chunk
        self.chunks.append(len(chunk))

    def save_any(self, directory: Path) -> None:
        """Writes the file as a client for inference does: only if at least one byte came."""
        if self.content:
            self.save(directory)

    def save(self, directory: Path) -> Path:
        """Writes the file under the name that was announced, and reports what came."""
        path = directory / self.name
        path.write_bytes(self.content)
        report("file", path=str(path), **self.facts())
        return path

    def facts(self) -> dict[str, Any]:
        """What was announced, and what came."""
        return {
            "name": self.name,
            "announced": self.size,
            "received": len(self.content),
            "third": self.third,
            "largest_chunk": max(self.chunks, default=0),
            "chunks": len(self.chunks),
        }
