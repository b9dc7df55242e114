"""A worker as sleap-rtc's of December 2025: registers, answers offers, receives a package, trains, sends results back.

What it receives it keeps as it is, without any check; it reports the facts, and the tests judge them. It ends when it is
told to (SIGTERM).
"""

import argparse
import asyncio
import re
import shutil
import zipfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.exceptions import InvalidStateError

import channel as wire
from common import BROKEN, Fatal, connection, report, run
from signalling import Frame, Room, Signalling, create_room, session_string, sign_in

TRAIN = re.compile(r"^\s*(?:sleap-nn train|sleap-train).*--config-name\s+(\S+)", re.MULTILINE)
"""A line of the training script; nothing else of it matters."""


class Worker:
    """One worker, which serves one client at a time."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.admin = True
        self.pc: RTCPeerConnection | None = None
        self.incoming: wire.Incoming | None = None
        self.output_dir = "models"
        self.track = False
        self.job_id = ""
        self.order: list[str] = []
        self.jobs: set[asyncio.Task[None]] = set()

    async def main(self) -> None:
        """From sign-in to departure."""
        args = self.args
        identity = sign_in(args.http)
        room = Room(args.room, args.token) if args.room else create_room(args.http, identity)
        self.hub = await Signalling.open(args.ws, identity, room)
        try:
            await self.register(is_admin=True)
            await self.listen()
        finally:
            for job in self.jobs:
                job.cancel()
            await asyncio.gather(*self.jobs, return_exceptions=True)
            if self.pc:
                await self.pc.close()
            await self.hub.close(args.http)

    async def register(self, **more: bool) -> None:
        """Registers as free."""
        properties = {
            "gpu_memory_mb": self.args.gpu_memory_mb,
            "gpu_model": "NVIDIA RTX A5000",
            "sleap_version": "unknown",
            "cuda_version": "12.8",
            "hostname": "gpu-01",
            "status": "available",
            "max_concurrent_jobs": 1,
            "supported_models": ["base", "centroid", "topdown"],
            "supported_job_types": ["training", "inference"],
        }
        if self.args.io:
            source, results = map(str, self.args.io)
            properties["io_paths"] = {"input": source, "output": results, "filesystem": "vast"}
        tags = ["sleap-rtc", "training-worker", "inference-worker"]
        await self.hub.register("worker", {"tags": tags, "properties": properties}, **more)

    async def publish(self, status: str, **more: str) -> None:
        """Tells the hub the status."""
        properties = {"status": status, **more}
        await self.hub.send("update_metadata", peer_id=self.hub.peer_id, metadata={"properties": properties})

    async def listen(self) -> None:
        """Reads the hub's frames: few for the admin of a room, more for any other worker."""
        async for frame in self.hub.frames():
            kind = frame.get("type")
            if kind == "registered_auth":
                room = self.hub.room
                report(
                    "registered",
                    session=session_string(room, self.hub.peer_id),
                    room=room.room_id,
                    token=room.token,
                    worker=self.hub.peer_id,
                    admin=frame.get("admin_peer_id"),
                )
            elif kind == "admin_conflict":
                self.admin = False
                report("admin_conflict", admin=frame["current_admin"])
            elif kind == "offer":
                await self.serve(frame)
            elif self.admin:
                # Peer messages among them: an admin does not negotiate.
                report("ignored", kind=kind, frame=frame)
            elif kind == "peer_message":
                await self.negotiate(frame["from_peer_id"], frame["payload"])
            elif kind in ("candidate", "error", "quit"):
                raise Fatal(BROKEN, f"a frame that ends a worker: {frame}")
            else:
                report("ignored", kind=kind, frame=frame)

    async def negotiate(self, client: str, payload: Frame) -> None:
        """Takes any job: that it refuses some is no concern of the tests."""
        job = payload.get("job_id")
        report("peer_message", sender=client, payload=payload)
        match payload.get("app_message_type"):
            case "job_request":
                await self.hub.tell(
                    client,
                    {
                        "app_message_type": "job_response",
                        "job_id": job,
                        "accepted": True,
                        "estimated_start_time_sec": 0,
                        "estimated_duration_minutes": 1,
                        "worker_info": {"gpu_utilization": 0.0, "available_memory_mb": 0},
                    },
                )
                await self.publish("reserved", pending_job_id=str(job))
            case "job_assignment":
                await self.publish("busy", current_job_id=str(job))

    async def serve(self, offer: Frame) -> None:
        """Answers an offer, whoever it comes from."""
        await self.publish("reserved")
        pc = self.pc = connection()
        self.incoming, self.order = None, []

        @pc.on("datachannel")
        def opened(channel: RTCDataChannel) -> None:
            report("open", label=channel.label, ordered=channel.ordered, protocol=channel.protocol)
            channel.on("message", lambda message: self.heard(channel, message))

        @pc.on("connectionstatechange")
        async def changed() -> None:
            report("connection", state=pc.connectionState)
            if pc.connectionState in ("closed", "failed") and pc is self.pc:
                self.pc = None
                await pc.close()
                await self.register(**({"is_admin": True} if self.admin else {}))

        await pc.setRemoteDescription(RTCSessionDescription(offer["sdp"], "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        report("offer", sender=offer["sender"], keys=sorted(offer), sdp=offer["sdp"])
        await self.hub.send("answer", sender=self.hub.peer_id, target=offer["sender"], sdp=pc.localDescription.sdp)

    def heard(self, channel: RTCDataChannel, message: str | bytes) -> None:
        """One message of the client. Called in the order in which they were sent."""
        if isinstance(message, bytes):
            if message == wire.KEEP_ALIVE:
                report("keep_alive")
            elif self.incoming:
                if self.order[-1] != "binary":
                    self.order.append("binary")
                self.incoming.take(message)
            else:
                report("stray", size=len(message))
            return
        self.order.append(message)
        match wire.control_word(message, wire.FROM_CLIENT):
            case "FILE_META::":
                self.incoming = wire.Incoming(message)
            case "PACKAGE_TYPE::":
                self.track = message.split("PACKAGE_TYPE::", 1)[1] == "track"
            case "JOB_ID::" if self.args.io:
                self.job_id = message.split("JOB_ID::", 1)[1]
            case "INPUT_FILE::" if self.args.io:
                self.start(self.train_named(channel, message.split("INPUT_FILE::", 1)[1]))
            case "OUTPUT_DIR::":
                self.output_dir = message.split("OUTPUT_DIR::", 1)[1]
            case "END_OF_FILE" if self.incoming:
                incoming, self.incoming = self.incoming, None
                work = self.infer if self.track else self.train
                self.start(work(channel, incoming))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Does something beside listening."""
        job = asyncio.ensure_future(work)
        self.jobs.add(job)
        job.add_done_callback(self.jobs.discard)

    async def train_named(self, channel: RTCDataChannel, name: str) -> None:
        """Runs the models of a package of the worker's own; their results stay where they are."""
        source, results = self.args.io
        report("named", order=self.order)
        if not (source / name).is_file():
            channel.send(f"FILE_NOT_FOUND::{name}::File does not exist")
            return
        place = results / "jobs" / self.job_id
        place.mkdir(parents=True)
        channel.send(f"FILE_EXISTS::{name}")
        channel.send(f"JOB_OUTPUT_PATH::{place}")
        with zipfile.ZipFile(source / name) as unpacking:
            unpacking.extractall(place)
        root = place / Path(name).stem
        for config in TRAIN.findall((root / "train-script.sh").read_text()):
            await self.train_model(channel, root, config)
        channel.send("TRAINING_JOBS_DONE")
        channel.send("TRAINING_COMPLETE")

    def unpack(self, package: wire.Incoming) -> Path:
        """Unpacks the package beside itself; the archive comes back."""
        archive = package.save(self.args.work)
        with zipfile.ZipFile(archive) as unpacking:
            names = unpacking.namelist()
            unpacking.extractall(self.args.work)
        report("package", order=self.order, entries=names, **package.facts())
        return archive

    async def infer(self, channel: RTCDataChannel, package: wire.Incoming) -> None:
        """Runs the inference of the package, and sends its result back: as it was designed, and never worked."""
        root = self.args.work / self.unpack(package).stem
        script = root / "track-script.sh"
        if not script.exists():
            channel.send("INFERENCE_ERROR::No track script found")
            return
        channel.send("INFERENCE_START")
        joined = script.read_text().replace("\\\n", " ")
        for line in joined.splitlines():
            if not line.startswith("sleap-nn track"):
                continue
            channel.send("INFERENCE_JOB_START::inference")
            process = await asyncio.create_subprocess_exec(
                *line.split(), cwd=root, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
            output, _ = await process.communicate()
            for text in output.decode(errors="replace").splitlines():
                channel.send(f"TRACK_LOG:{text}")
            if process.returncode != 0:
                channel.send(f"INFERENCE_JOB_ERROR::inference::{process.returncode}")
                return
            channel.send("INFERENCE_JOB_END::inference")
        for result in sorted(root.glob("*.predictions.slp"))[:1]:
            await wire.send_file(channel, result, result.name, self.output_dir, wire.WORKER_CHUNK)
        channel.send("INFERENCE_JOBS_DONE")

    async def train(self, channel: RTCDataChannel, package: wire.Incoming) -> None:
        """Runs every model of the package, and sends the results back."""
        archive = self.unpack(package)
        root = self.args.work / archive.stem
        try:
            for config in TRAIN.findall((root / "train-script.sh").read_text()):
                await self.train_model(channel, root, config)
            channel.send("TRAINING_JOBS_DONE")
            await self.send_results(channel, root, f"trained_{archive.stem}")
        except InvalidStateError as gone:
            report("client_gone", why=str(gone))

    async def train_model(self, channel: RTCDataChannel, root: Path, config: str) -> None:
        """Runs the one command that a worker has for a model, and passes its output on."""
        name = Path(config).stem
        channel.send(f"TRAIN_JOB_START::{name}")
        process = await asyncio.create_subprocess_exec(
            *("sleap-nn", "train", "--config-name", config, "--config-dir", "."),
            *("trainer_config.ckpt_dir=models", f"trainer_config.run_name={name}"),
            cwd=root,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            assert process.stdout is not None
            pending = b""
            while piece := await process.stdout.read(4096):
                *lines, pending = re.split(rb"(?<=[\r\n])", pending + piece)
                for line in lines:
                    self.pass_on(channel, line)
            self.pass_on(channel, pending)
            code = await process.wait()
        finally:
            # A worker that is told to leave leaves no training behind.
            if process.returncode is None:
                process.kill()
        channel.send(f"TRAIN_JOB_END::{name}" if code == 0 else f"TRAIN_JOB_ERROR::{name}::{code}")

    @staticmethod
    def pass_on(channel: RTCDataChannel, line: bytes) -> None:
        """Sends a line of output; one that is to be overwritten has its carriage return in front."""
        text = line.rstrip(b"\r\n").decode(errors="replace")
        if text:
            channel.send("\r" + text if line.endswith(b"\r") else text + "\n")

    async def send_results(self, channel: RTCDataChannel, root: Path, stem: str) -> None:
        """Packs the output directory, and sends it. A directory that is not there is not even mentioned."""
        output = root / self.output_dir
        if not output.is_dir():
            return
        results = Path(shutil.make_archive(str(self.args.work / stem), "zip", output))
        announced = self.args.announce or results.name
        await wire.send_file(channel, results, announced, self.output_dir, wire.WORKER_CHUNK)
        report("results", path=str(results), announced=announced, bytes=results.stat().st_size)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ws", required=True, help="the hub's WebSocket")
    parser.add_argument("--http", required=True, help="the hub's HTTP requests")
    parser.add_argument("--room", help="join this room instead of making one")
    parser.add_argument("--token", help="the token of that room")
    parser.add_argument("--gpu-memory-mb", type=int, default=24576)
    parser.add_argument("--announce", metavar="NAME", help="announce the results under this name")
    parser.add_argument("--io", type=Path, nargs=2, metavar=("IN", "OUT"), help="serve packages of its own")
    parser.add_argument("--work", type=Path, default=Path("."), help="where packages go")
    run(Worker(parser.parse_args()).main)


if __name__ == "__main__":
    main()
