"""A client as sleap-rtc's of December 2025: finds a worker, sends a package, saves what comes back, and stays.

It ends when it is told to (SIGTERM), and not before: a result is no reason to leave.
"""

import argparse
import asyncio
import os
import platform
import uuid
from pathlib import Path

from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription

import channel as wire
from common import BROKEN, NO_CONNECTION, NO_WORKER, Fatal, connection, report, run, together
from signalling import Frame, Room, Signalling, read_session, sign_in

OPENING = 30.0
"""How long the channel may take to open, in seconds."""
STOP = 'ZMQ_CTRL::{"command": "stop"}'
"""What the training monitor's button says."""


class Client:
    """One submission."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.incoming: wire.Incoming | None = None
        self.stopped = False

    async def main(self) -> None:
        """From sign-in to departure."""
        args = self.args
        room, worker = read_session(args.session) if args.session else (Room(args.room, args.token), None)
        self.hub = await Signalling.open(args.ws, sign_in(args.http), room)
        try:
            await together(self.listen(), self.submit(worker))
        finally:
            await self.hub.close(args.http)

    async def listen(self) -> None:
        """Reads the hub's frames. Errors are not acted on, and a candidate ends it: both as in the original."""
        async for frame in self.hub.frames():
            match frame.get("type"):
                case "registered_auth" | "peer_list" | "answer" as kind:
                    self.hub.answered(kind, frame)
                case "peer_message":
                    payload = frame["payload"]
                    report("peer_message", sender=frame["from_peer_id"], payload=payload)
                    if payload.get("app_message_type") == "job_response":
                        self.hub.answered("job_response", payload)
                case "candidate":
                    raise Fatal(BROKEN, "a candidate came, although all of them belong into the description")
                case kind:
                    report("frame", kind=kind, frame=frame)

    async def submit(self, worker: str | None) -> None:
        """Finds the worker, connects, and sends the package."""
        await self.hub.register(
            "client",
            {
                "tags": ["sleap-rtc", "training-client"],
                "properties": {
                    "sleap_version": "unknown",
                    "platform": platform.system(),
                    "user_id": os.environ.get("USER", "unknown"),
                },
            },
        )
        registered = await self.hub.answer("registered_auth")
        report("registered", peer_id=registered["peer_id"], peers=registered["peer_list"])
        worker = worker or await self.discover()
        if self.args.negotiate:
            await self.negotiate(worker)
        pc = connection()
        try:
            opened = await self.connect(pc, worker)
            await together(wire.keep_alive(opened), self.send_package(opened))
            await asyncio.Event().wait()
        finally:
            await pc.close()

    async def discover(self) -> str:
        """The free worker with the most GPU memory."""
        filters: Frame = {
            "role": "worker",
            "room_id": self.hub.room.room_id,
            "tags": ["sleap-rtc"],
            "properties": {"status": "available"},
        }
        await self.hub.send("discover_peers", from_peer_id=self.hub.peer_id, filters=filters)
        peers = (await self.hub.answer("peer_list"))["peers"]
        report("discovered", peers=peers)
        if not peers:
            raise Fatal(NO_WORKER, "no worker is free")
        return max(peers, key=lambda peer: peer["metadata"]["properties"].get("gpu_memory_mb", 0))["peer_id"]

    async def negotiate(self, worker: str) -> None:
        """Asks for the job and assigns it. An assignment is not answered."""
        job = str(uuid.uuid4())
        size = self.args.package.stat().st_size / 1024**2
        await self.hub.tell(
            worker,
            {
                "app_message_type": "job_request",
                "job_id": job,
                "job_type": "inference" if self.args.track else "training",
                "dataset_info": {"format": "slp", "path": str(self.args.package), "estimated_size_mb": size},
                "config": {"model_type": "centroid", "epochs": 2},
                "requirements": {"min_gpu_memory_mb": 0},
            },
        )
        report("requested", job_id=job)
        response = await self.hub.answer("job_response")
        if not response["accepted"]:
            raise Fatal(NO_WORKER, f"rejected: {response['reason']}")
        await self.hub.tell(
            worker, {"app_message_type": "job_assignment", "job_id": job, "initiate_connection": True}
        )

    async def connect(self, pc: RTCPeerConnection, worker: str) -> RTCDataChannel:
        """Offers with all candidates in the description, and waits for the channel to open."""
        channel = pc.createDataChannel(wire.LABEL)
        opened, closed = asyncio.Event(), asyncio.Event()
        channel.on("open", opened.set)
        channel.on("close", lambda: report("channel_closed"))
        channel.on("message", lambda message: self.heard(channel, message))
        pc.on("connectionstatechange", lambda: report("connection", state=pc.connectionState))
        await pc.setLocalDescription(await pc.createOffer())
        await self.hub.send("offer", sender=self.hub.peer_id, target=worker, sdp=pc.localDescription.sdp)
        report("offered", worker=worker)
        answer = await self.hub.answer("answer")
        report("answered", sdp=answer["sdp"])
        await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        try:
            await asyncio.wait_for(opened.wait(), OPENING)
        except TimeoutError:
            raise Fatal(NO_CONNECTION, f"no channel within {OPENING} s") from None
        report("open", label=channel.label, ordered=channel.ordered)
        return channel

    async def send_package(self, channel: RTCDataChannel) -> None:
        """Type, directory and file, back to back; for inference with pauses between."""
        package = self.args.package
        if self.args.untimely:
            channel.send(STOP)
        if self.args.track:
            for text in ("PACKAGE_TYPE::track", "OUTPUT_DIR::."):
                channel.send(text)
                await asyncio.sleep(0.1)
            await wire.send_file(channel, package, package.name, "false", wire.CLIENT_CHUNK)
            report("sent")
            return
        channel.send("PACKAGE_TYPE::train")
        channel.send("OUTPUT_DIR::models")
        await wire.send_file(
            channel, package, package.name, "False", wire.CLIENT_CHUNK, interleave=self.args.interleave
        )
        report("sent")

    def heard(self, channel: RTCDataChannel, message: str | bytes) -> None:
        """One message of the worker. Called in the order in which they were sent."""
        if isinstance(message, bytes):
            if message == wire.KEEP_ALIVE:
                report("keep_alive")
            elif self.incoming:
                self.incoming.take(message)
            else:
                report("stray", size=len(message))
            return
        words = wire.INFERENCE_FROM_WORKER if self.args.track else wire.FROM_WORKER
        word = wire.control_word(message, words)
        report("text", text=message, control=word)
        if self.args.stop_at and self.args.stop_at in message and not self.stopped:
            self.stopped = True
            channel.send(STOP)
        if word == "FILE_META::":
            self.incoming = wire.Incoming(message)
        elif word == "END_OF_FILE" and self.incoming:
            if self.args.track:
                self.incoming.save_any(self.args.output)
            else:
                self.incoming.save(self.args.output)
            self.incoming = None
            if self.args.untimely:
                channel.send(STOP)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ws", required=True, help="the hub's WebSocket")
    parser.add_argument("--http", required=True, help="the hub's HTTP requests")
    parser.add_argument("--session", help="the session string of a worker")
    parser.add_argument("--room", help="a room to find a worker in")
    parser.add_argument("--token", help="the token of that room")
    parser.add_argument("--negotiate", action="store_true", help="ask for the job by peer message before connecting")
    parser.add_argument("--track", action="store_true", help="send a package for inference")
    parser.add_argument("--interleave", action="store_true", help="send a keep-alive after every chunk")
    parser.add_argument("--stop-at", help="stop the training, as its monitor does, when a text has this in it")
    parser.add_argument("--untimely", action="store_true", help="stop it also when there is none yet, and none any more")
    parser.add_argument("--output", type=Path, default=Path("."), help="where results go")
    parser.add_argument("package", type=Path, help="a .zip file")
    client = Client(parser.parse_args())
    run(client.main)


if __name__ == "__main__":
    main()
