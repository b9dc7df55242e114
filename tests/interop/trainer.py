"""A trainer that reports and obeys as sleap-nn's does: it connects to the two ports that its arguments name, publishes its
progress to one (PUB), and between batches looks for a command at the other (SUB).
"""

import argparse
import json
import socket
import struct
import sys
from pathlib import Path

import zmq

PAUSE = 0.02
"""How long a batch takes, in seconds."""
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x03"


def port(name: str) -> int | None:
    """The port that is meant for this, if any."""
    word = next(word for word in sys.argv if word.startswith(f"trainer_config.zmq.{name}_port="))
    value = word.split("=", 1)[1]
    return None if value == "null" else int(value)


class Monitor:
    """Both ends of the conversation."""

    def __init__(self, controller: int, publish: int, context: zmq.Context, *, wait: bool) -> None:
        self.control = context.socket(zmq.SUB)
        self.control.subscribe("")
        self.control.connect(f"tcp://127.0.0.1:{controller}")
        self.progress = context.socket(zmq.XPUB if wait else zmq.PUB)
        # Whatever is left out is left out by the worker.
        self.progress.set(zmq.SNDHWM, 0)
        self.published = 0
        self.progress.connect(f"tcp://127.0.0.1:{publish}")
        if wait:
            # What is published before somebody listens is lost.
            assert self.progress.recv() == b"\x01"

    def tell(self, event: str, **facts: object) -> None:
        """Publishes something."""
        self.progress.send_string(json.dumps({"event": event, **facts}))
        self.published += 1

    def command(self, wait: float) -> str | None:
        """A command, if one comes within so many seconds."""
        return self.control.recv_string() if self.control.poll(wait * 1000) else None


def attack(controller: int, publish: int) -> None:
    """What somebody on the same machine could send to the ports; the connections stay open."""
    for at, kind in [(publish, b"PUB"), (controller, b"SUB")]:
        for after in [struct.pack(">BQ", 2, 2**62), struct.pack(">BQ", 2, 2**40) + b"x", b"\x01\x00" * 1000, None]:
            one = socket.create_connection(("127.0.0.1", at))
            if after is None:
                one.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(100))
                continue
            body = READY + kind
            one.sendall(GREETING + bytes([4, len(body)]) + body + after)
            KEPT.append(one)


KEPT: list[socket.socket] = []


def main() -> None:
    """Trains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="centroid")
    parser.add_argument("--epochs", type=int, default=10**9, help="how many, unless it is stopped before")
    parser.add_argument("--wait", action="store_true", help="begin when the worker listens")
    parser.add_argument("--attack", action="store_true", help="do to the ports what one must not")
    parser.add_argument("--odd", action="store_true", help="report what is no report")
    parser.add_argument("--flood", type=int, default=0, help="so many reports, as fast as they can be sent")
    parser.add_argument("--await-command", action="store_true", help="connect, and do nothing until a command comes")
    args = parser.parse_args(sys.argv[sys.argv.index("--as") + 1 :])
    run = Path("models") / args.name
    run.mkdir(parents=True, exist_ok=True)
    controller, publish = port("controller"), port("publish")
    if controller is None or publish is None:
        print("training without a monitor", flush=True)
        return
    context = zmq.Context()
    monitor = Monitor(controller, publish, context, wait=args.wait)
    if args.await_command:
        (run / "commands").write_text(f"{monitor.command(60)}\n")
        return
    if args.attack:
        attack(controller, publish)
    if args.odd:
        progress = monitor.progress
        progress.send_multipart([b"{}", b"{}"])
        progress.send(b"\xff\xfe")
        progress.send(bytes(200_000))
        monitor.published += 3
        monitor.tell("train_begin", what="END_OF_FILE FILE_META::x:1:y TRAINING_JOBS_DONE\x1b[2J PROGRESS_REPORT::")
    for number in range(args.flood):
        monitor.tell("batch_end", batch=number, what=args.name)
    command, epoch = None, 0
    print("training", flush=True)
    while command is None and epoch < args.epochs:
        monitor.tell("epoch_begin", epoch=epoch, what=args.name)
        command = monitor.command(PAUSE)
        monitor.tell("epoch_end", epoch=epoch, what=args.name, logs={"train/loss": 0.5, "val/loss": 0.25})
        epoch += 1
    monitor.tell("train_end", what=args.name)
    (run / "commands").write_text(f"{command}\n")
    (run / "published").write_text(f"{monitor.published}\n")
    print("stopped early" if command else f"{epoch} epochs", flush=True)
    # What was published is on its way before the process ends, as with sleap-nn.
    for one in (monitor.progress, monitor.control):
        one.close(linger=-1)
    context.term()


if __name__ == "__main__":
    main()
