"""The walk-through of the WebSocket integration guide: a tube to a peer, and the manager that keeps it.

Here both ends are in one program, and the WebSocket between them is two queues. In a program of yours, the other end is
another machine, and the WebSocket is one.
"""

from __future__ import annotations

import asyncio
import json
import threading
from typing import AsyncIterator, Union

from loaner.connection_manager import (
    PEER_SIGNALS,
    ConnectionState,
    NetworkChangeType,
    Tube,
    TubeRegistry,
    TunnelConnectionManager,
    get_connection_manager,
    register_connection_manager,
    unregister_connection_manager,
)


class Program:
    """A program as the guide has it: it handles its WebSocket and the signals of its tubes."""

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket
        self.loop = asyncio.get_running_loop()
        self.tube_registry = TubeRegistry()
        self.connected = asyncio.Event()
        self.changed = asyncio.Event()

    async def on_state_change(self, tube_id: str, state: ConnectionState) -> None:
        """A callback that is a coroutine: it runs on the loop that ran when it was added."""
        print("state:", state.value)
        if state is ConnectionState.CONNECTED:
            self.connected.set()
        else:
            self.connected.clear()

    def signal_from_rust(self, response: dict) -> None:
        """The signal handler: it is called on a thread of the library."""
        signal_kind = response.get("kind", "")
        if signal_kind in PEER_SIGNALS:
            self.loop.call_soon_threadsafe(self.websocket.send, json.dumps(response))
        elif signal_kind == "network_change_detected":
            # What is to be done about it is being done: a restart, if it is needed.
            print("network change:", response["data"])
            self.loop.call_soon_threadsafe(self.changed.set)
        elif signal_kind == "keepalive":
            print("keepalive")

    async def handle_websocket(self) -> None:
        """Takes every message to the manager of its tube, one object or an array of them."""
        async for text in self.websocket:
            messages: Union[dict, list] = json.loads(text)
            for message in messages if isinstance(messages, list) else [messages]:
                manager = get_connection_manager(message.get("tube_id", ""))
                if manager is not None:
                    manager.update_activity()
            self.tube_registry.receive(messages)

    async def run(self) -> None:
        """The lifecycle of a connection, in the guide's five steps."""
        print("1. initialize")
        tube = self.tube_registry.create_tube("conversation-1")
        tube_id, conversation_id = tube.tube_id, tube.conversation_id
        manager = TunnelConnectionManager(tube_id, conversation_id, self.tube_registry, self)
        manager.add_state_change_callback(self.on_state_change)
        register_connection_manager(manager)

        print("2. connect")
        handling = asyncio.create_task(self.handle_websocket())
        await manager.start_monitoring()
        await self.connected.wait()
        await self.talk(tube, b"hello")

        print("3. monitor")
        metrics = manager.metrics
        print("sent", metrics.bytes_sent, "and received", metrics.bytes_received, "bytes")

        print("4. handle changes")
        # By hand. What is sent meanwhile waits until the connection is back.
        self.connected.clear()
        await manager.restart()
        await self.talk(tube, b"still there?")
        await self.connected.wait()
        # A tube sees changes of the network by itself; of this one it is told. It doubts, and asks the other end.
        await manager.handle_network_change(NetworkChangeType.IP_ADDRESS_CHANGE)
        await self.talk(tube, b"and now?")
        await self.changed.wait()

        print("5. cleanup")
        await unregister_connection_manager(tube_id)
        handling.cancel()
        print("state at the end:", manager.state.value)

    async def talk(self, tube: Tube, message: bytes) -> None:
        """Sends a message, and waits for its echo."""
        await tube.send_async(message)
        print("echo:", await tube.recv_async())


class Peer:
    """The other end: without a manager, and without a loop. It echoes whatever comes."""

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket
        self.loop = asyncio.get_running_loop()
        self.tube_registry = TubeRegistry()

    async def run(self) -> None:
        """Takes what comes; the first message of a tube makes the tube."""
        async for text in self.websocket:
            message = json.loads(text)
            if message["tube_id"] not in self.tube_registry.tube_ids():
                self.take_tube(message["tube_id"])
            # Arrays are taken as well as single messages.
            self.tube_registry.receive([message])

    def take_tube(self, tube_id: str) -> None:
        """Makes this end of a tube, and has it echo."""
        tube = self.tube_registry.create_tube(role="responder", tube_id=tube_id)
        tube.add_signal_callback(self.on_signal)
        threading.Thread(target=self.echo, args=(tube,), daemon=True).start()

    def on_signal(self, signal: dict) -> None:
        """Sends what is for the program at the other end."""
        if signal["kind"] in PEER_SIGNALS:
            self.loop.call_soon_threadsafe(self.websocket.send, json.dumps([signal]))

    @staticmethod
    def echo(tube: Tube) -> None:
        """Sends back what comes, until the tube is closed."""
        while (message := tube.recv()) is not None:
            tube.send(message)


class WebSocket:
    """One end of a WebSocket, as far as this example needs it."""

    def __init__(self, incoming: asyncio.Queue[str], outgoing: asyncio.Queue[str]) -> None:
        self.incoming, self.outgoing = incoming, outgoing

    def send(self, text: str) -> None:
        """Sends a text."""
        self.outgoing.put_nowait(text)

    async def __aiter__(self) -> AsyncIterator[str]:
        while True:
            yield await self.incoming.get()


async def main() -> None:
    """Connects a program and its peer."""
    one: asyncio.Queue[str] = asyncio.Queue()
    other: asyncio.Queue[str] = asyncio.Queue()
    peer = asyncio.create_task(Peer(WebSocket(one, other)).run())
    await Program(WebSocket(other, one)).run()
    peer.cancel()


if __name__ == "__main__":
    asyncio.run(main())
