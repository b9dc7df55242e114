"""The hub's side of a sleap-rtc peer: three HTTP requests, and JSON frames over one WebSocket."""

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Self

import requests
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from common import NO_HUB, Fatal, report

ANSWER = 5.0
"""How long a peer waits for the hub's or another peer's answer, in seconds."""
HTTP = 10.0
"""How long a request may take, in seconds. The original waits for ever, which no test should."""

Frame = dict[str, Any]


class Identity(NamedTuple):
    """Who a peer is to the hub."""

    username: str
    id_token: str


class Room(NamedTuple):
    """A room, and the token that opens it."""

    room_id: str
    token: str


def _post(url: str, **more: Any) -> Frame:
    try:
        response = requests.post(url, timeout=HTTP, **more)
    except requests.RequestException as error:
        raise Fatal(NO_HUB, f"{url}: {error}") from error
    report("http", path=response.request.path_url, status=response.status_code)
    if response.status_code != 200:
        raise Fatal(NO_HUB, f"{url}: {response.status_code} {response.text}")
    return response.json()


def sign_in(http: str) -> Identity:
    """Signs in with a request that has no body at all, as the original does."""
    answer = _post(f"{http}/anonymous-signin")
    return Identity(answer["username"], answer["id_token"])


def create_room(http: str, identity: Identity) -> Room:
    """Makes a room. Only the header says who asks."""
    answer = _post(f"{http}/create-room", headers={"Authorization": f"Bearer {identity.id_token}"})
    return Room(answer["room_id"], answer["token"])


def delete_peer(http: str, identity: Identity) -> None:
    """Says goodbye, without a token: the original sends none, and has closed its socket before."""
    _post(f"{http}/delete-peer", json={"peer_id": identity.username})


def session_string(room: Room, peer_id: str) -> str:
    """What a worker prints for its clients; Python's default JSON spacing is part of it."""
    text = json.dumps({"r": room.room_id, "t": room.token, "p": peer_id})
    return "sleap-session:" + base64.urlsafe_b64encode(text.encode()).decode()


def read_session(text: str) -> tuple[Room, str]:
    """Room and worker of a session string. The decoder is a strict one about padding."""
    fields = json.loads(base64.urlsafe_b64decode(text.removeprefix("sleap-session:")))
    return Room(fields["r"], fields["t"]), fields["p"]


class Signalling:
    """A registered peer's WebSocket."""

    def __init__(self, socket: ClientConnection, identity: Identity, room: Room) -> None:
        self.socket = socket
        self.identity = identity
        self.room = room
        self._answers: defaultdict[str, asyncio.Queue[Frame]] = defaultdict(asyncio.Queue)

    @classmethod
    async def open(cls, ws: str, identity: Identity, room: Room) -> Self:
        """Connects; nothing is said yet."""
        try:
            socket = await connect(ws)
        except OSError as error:
            raise Fatal(NO_HUB, f"{ws}: {error}") from error
        return cls(socket, identity, room)

    @property
    def peer_id(self) -> str:
        """The name that the hub gave this peer."""
        return self.identity.username

    async def send(self, kind: str, **fields: Any) -> None:
        """Sends a frame."""
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def register(self, role: str, metadata: Frame, **more: Any) -> None:
        """Registers; the answer is a frame like any other."""
        await self.send(
            "register",
            peer_id=self.peer_id,
            room_id=self.room.room_id,
            token=self.room.token,
            id_token=self.identity.id_token,
            role=role,
            **more,
            metadata=metadata,
        )

    async def tell(self, peer: str, payload: Frame) -> None:
        """Sends a message to another peer of the room."""
        await self.send("peer_message", from_peer_id=self.peer_id, to_peer_id=peer, payload=payload)

    async def frames(self) -> AsyncIterator[Frame]:
        """What the hub sends, until the socket closes. There is no reconnecting."""
        try:
            async for text in self.socket:
                yield json.loads(text)
        except ConnectionClosed as closed:
            raise Fatal(NO_HUB, f"the hub is gone: {closed}") from closed
        raise Fatal(NO_HUB, "the hub closed the connection")

    def answered(self, kind: str, frame: Frame) -> None:
        """Passes a frame to whoever waits for one of its kind."""
        self._answers[kind].put_nowait(frame)

    async def answer(self, kind: str) -> Frame:
        """Waits for a frame of this kind."""
        try:
            return await asyncio.wait_for(self._answers[kind].get(), ANSWER)
        except TimeoutError:
            raise Fatal(NO_HUB, f"no {kind} within {ANSWER} s") from None

    async def close(self, http: str) -> None:
        """Leaves: first the socket, then the entry at the hub."""
        await self.socket.close()
        delete_peer(http, self.identity)
