"""Tubes: streams of messages between two peers that outlive the WebRTC connections that carry them.

A program brings the signalling: whatever :attr:`PEER_SIGNALS` its tubes give it, it takes to the peer, as they are, and what
comes from the peer it gives to :meth:`TubeRegistry.receive`. Everything may be called from any thread, and nothing needs an
event loop.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import json
import logging
import os
import threading
import time
import uuid
import weakref
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Callable, Iterable, Mapping, Optional, Union

from . import _native
from ._calling import Callback
from ._native import RestartError, TubeClosedError, TubeError
from ._policy import ConnectionMetrics, ConnectionState, NetworkChangeType

__all__ = [
    "PEER_SIGNALS",
    "Receipt",
    "RestartError",
    "Tube",
    "TubeClosedError",
    "TubeError",
    "TubeRegistry",
]

log = logging.getLogger("loaner")

PEER_SIGNALS = frozenset({"offer", "answer", "icecandidate", "ice_restart_offer", "ice_restart_request"})
"""The kinds of signals that have to reach the peer, as they are; the others are for the program itself."""

# For how long a change that was told of is being handled: a program that reports it back reports nothing new.
_ECHO = 1.0
# How long whoever waits for the end of a tube waits for its last callback.
_LAST_WORD = 5.0
# How long the end of a registry waits for its thread.
_GOODBYE = 5.0


@dataclass(frozen=True)
class Receipt:
    """What became of the messages of a text."""

    taken: int
    """How many were of a tube's own, and are with it."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    """Those of other kinds, the program's own: ``tube_id``, ``kind``, ``data`` as it came, ``conversation_id``."""
    errors: list[str] = field(default_factory=list)
    """What was wrong with the others."""


class Tube:
    """A tube. :meth:`TubeRegistry.create_tube` makes them."""

    def __init__(self, native: _native.Tube, registry: TubeRegistry) -> None:
        self._native = native
        self.tube_id: str = native.tube_id
        """Its id, the same on both sides."""
        self.conversation_id: str = native.conversation_id
        """The conversation that its signals name."""
        self.role: str = native.role
        """``initiator``, who makes all offers, or ``responder``."""
        self._registry = weakref.ref(registry)
        self._states: list[Callback] = []
        self._changes: list[Callback] = []
        self._signals: list[Callback] = []
        self._noticed: dict[str, float] = {}
        self._ends: list[Callable[[], None]] = []
        self._over = threading.Event()

    def __repr__(self) -> str:
        return f"<Tube {self.tube_id} {self.role}>"

    @property
    def state(self) -> ConnectionState:
        """Its state."""
        return ConnectionState(self._native.state)

    @property
    def is_closed(self) -> bool:
        """Whether everything that it had is released."""
        return self._native.is_closed

    @property
    def metrics(self) -> ConnectionMetrics:
        """Its figures, as they are now."""
        return ConnectionMetrics(last_quality_check=time.time(), **self._native.metrics())

    @property
    def doing(self) -> Optional[str]:
        """What it does at the moment, in words; ``None`` once it is over."""
        return self._native.doing()

    def start(self) -> None:
        """Begins: an initiator makes its first offer. For a responder, and for one that has begun, this is nothing."""
        self._native.start()

    def restart(self) -> None:
        """Restarts its connection now.

        Raises :class:`RestartError` where that cannot be, such as before the backoff of the last attempt is over.
        """
        self._native.restart()

    def update_activity(self) -> None:
        """There was a sign of activity: the next keepalive is that much later."""
        self._native.update_activity()

    def handle_network_change(self, change_type: Union[NetworkChangeType, str]) -> None:
        """Something has happened to the network, as the program knows. The tube looks whether it still carries, and brings
        the connection back where it does not. A change that the tube itself has just told of is being handled already."""
        change = NetworkChangeType(change_type).value
        if time.monotonic() - self._noticed.get(change, -_ECHO) >= _ECHO:
            self._native.handle_network_change(change)

    def set_network(self, up: bool) -> None:
        """Whether there is a way out of this machine, as the program knows. While there is none, nothing is tried."""
        self._native.set_network(up)

    def set_signalling(self, up: bool) -> None:
        """Whether the program's signalling works. While it does not, nothing is offered."""
        self._native.set_signalling(up)

    def send(self, message: bytes, timeout: Optional[float] = None) -> None:
        """Sends a message of at most 262,144 bytes, now or when a connection carries it. Waits while too much is on its way,
        and while the connection is lost; no longer than ``timeout`` seconds.

        Raises :class:`TubeClosedError`, ``ValueError`` for one that is too large, ``TimeoutError``.
        """
        self._native.send(message, timeout)

    def recv(self, timeout: Optional[float] = None) -> Optional[bytes]:
        """The next message, for one consumer; ``None`` once the tube is closed and everything was taken.

        Raises ``TimeoutError`` where none came within ``timeout`` seconds. Nothing is lost then.
        """
        return self._native.recv(timeout)

    async def send_async(self, message: bytes) -> None:
        """As :meth:`send`, for coroutines. Where it is cancelled, the message is either sent or not."""
        await _outcome(self._native.send_soon(message))

    async def recv_async(self) -> Optional[bytes]:
        """As :meth:`recv`, for coroutines. Where it is cancelled, nothing is lost."""
        return await _outcome(self._native.recv_soon())

    def close(self) -> None:
        """Shuts it down: says goodbye if it is connected, and releases everything. Does not wait for it; twice is nothing."""
        self._native.close()

    def wait_closed(self, timeout: Optional[float] = None) -> None:
        """Waits until everything that it had is released, and its last callback was called.

        Raises ``TimeoutError`` where it is not closed within ``timeout`` seconds.
        """
        self._native.wait_closed(timeout)
        registry = self._registry()
        # The thread that calls would wait for itself.
        if registry is not None and not registry._is_calling():
            self._over.wait(_LAST_WORD)

    def add_state_change_callback(self, callback: Callable[[str, ConnectionState], Any]) -> None:
        """Calls this with the tube's id and its state, once for every change of that.

        Callbacks are called one after the other, on a thread of the registry: what takes its time belongs elsewhere. A
        coroutine runs on the loop that ran where the callback was added, or on one of the package's own. What a callback
        raises is logged.
        """
        self._states.append(Callback(callback))

    def add_network_change_callback(self, callback: Callable[[str, NetworkChangeType], Any]) -> None:
        """Calls this, in the same way, with every change of the network or the path that is noticed."""
        self._changes.append(Callback(callback))

    def add_signal_callback(self, callback: Callable[[dict[str, Any]], Any]) -> None:
        """Calls this, in the same way, with every signal: a ``dict`` with ``tube_id``, ``kind``, ``data``,
        ``conversation_id``, ``signal_id``, and ``generation`` where it is one of :attr:`PEER_SIGNALS`."""
        self._signals.append(Callback(callback))

    def _at_end(self, call: Callable[[], None]) -> None:
        """Calls this when the tube has ended, now perhaps. It may be called twice."""
        self._ends.append(call)
        if self._over.is_set():
            call()

    def _told(self, what: str, text: str) -> None:
        if what == "state":
            state = ConnectionState(text)
            for callback in tuple(self._states):
                callback(self.tube_id, state)
        elif what == "change":
            self._noticed[text] = time.monotonic()
            for callback in tuple(self._changes):
                callback(self.tube_id, NetworkChangeType(text))
        elif what == "signal":
            signal = json.loads(text)
            if signal["kind"] == "network_change_detected":
                self._noticed[signal["data"]] = time.monotonic()
            if not self._signals and signal["kind"] in PEER_SIGNALS:
                log.warning("nobody takes the signals of tube %s to its peer; add a signal callback", self.tube_id)
            for callback in tuple(self._signals):
                callback(dict(signal))
        else:
            self._over.set()
            for end in tuple(self._ends):
                end()


async def _outcome(pending: _native.Pending) -> Optional[bytes]:
    """Waits for it on the loop that runs here."""
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(pending.fileno(), there.set)
    try:
        await there.wait()
    except BaseException:
        pending.cancel()
        raise
    finally:
        loop.remove_reader(pending.fileno())
    return pending.result()


class TubeRegistry:
    """The tubes of a program, and the threads on which they live.

    One is enough for a program. It is closed at the end of the program at the latest. A process that was forked from one that
    has a registry can have none: start it by ``spawn``, or fork before.
    """

    def __init__(self) -> None:
        self._native = _native.Tubes()
        self._process = os.getpid()
        self._tubes: dict[str, Tube] = {}
        # By number: an id may be another tube's when the last is told of the one before.
        self._numbers = itertools.count()
        self._numbered: dict[int, Tube] = {}
        self._thread = threading.Thread(
            target=_tell, args=(self._native, weakref.ref(self)), name="loaner-events", daemon=True
        )
        self._thread.start()
        # Who has forgotten it has no use for its tubes.
        weakref.finalize(self, _abandon, self._native, self._process).atexit = False
        _registries.add(self)

    def __enter__(self) -> TubeRegistry:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def create_tube(
        self,
        conversation_id: str = "",
        *,
        role: str = "initiator",
        tube_id: Optional[str] = None,
        ice_servers: Iterable[Mapping[str, Any]] = (),
        patience: Optional[float] = None,
        keepalive: Optional[float] = None,
    ) -> Tube:
        """Makes a tube.

        The ``initiator`` begins with :meth:`Tube.start`, and makes all offers; the ``responder`` has the ``tube_id`` of the
        first message that it gets, and begins by itself when that is given to :meth:`receive`.

        ``ice_servers`` are ``{"urls": ..., "username": ..., "credential": ...}``, as everywhere in WebRTC; ``patience`` is
        for how many seconds a lost connection is tried to be brought back (600), ``keepalive`` after how many without
        activity a sign of life is sent (300).

        Raises ``ValueError`` for what cannot be, such as a tube that is there already.
        """
        number = next(self._numbers)
        wishes = {
            "tube_id": str(uuid.uuid4()) if tube_id is None else tube_id,
            "role": role,
            "conversation_id": conversation_id,
            "patience": patience,
            "keepalive": keepalive,
            "ice_servers": [dict(server) for server in ice_servers],
        }
        tube = Tube(self._native.create(number, wishes), self)
        self._tubes[tube.tube_id] = self._numbered[number] = tube
        return tube

    def tube(self, tube_id: str) -> Tube:
        """The tube of this id. Raises ``LookupError`` where there is none, or none any more."""
        try:
            return self._tubes[tube_id]
        except KeyError:
            raise LookupError(f"there is no tube {tube_id!r}; make it with create_tube") from None

    def tube_ids(self) -> list[str]:
        """The ids of all tubes, in order."""
        return sorted(self._tubes)

    def receive(self, message: Union[str, bytes, Mapping[str, Any], list[Any]]) -> Receipt:
        """Takes what came from a peer to the tubes that it is for: one message or an array of them, as a JSON text or as
        what that says. What is wrong with one stops no other; nothing is raised for it.
        """
        try:
            if isinstance(message, (bytes, bytearray)):
                message = message.decode()
            text = message if isinstance(message, str) else json.dumps(message)
        except (UnicodeDecodeError, ValueError, TypeError, RecursionError) as error:
            return Receipt(0, errors=[f"neither a JSON object nor an array of them: {error}"])
        native = self._native.receive(text)
        messages, errors = [], list(native.errors)
        for tube_id, kind, data, conversation_id in native.messages:
            try:
                read = json.loads(data)
            # Python has its own idea of how long a number may be.
            except (ValueError, RecursionError) as error:
                errors.append(f"the data of a message cannot be read: {error}")
                continue
            messages.append(
                {"tube_id": tube_id, "kind": kind, "data": read, "conversation_id": conversation_id}
            )
        for wrong in errors:
            log.info("a message was not taken: %s", wrong)
        return Receipt(native.taken, messages, errors)

    def close(self) -> None:
        """Closes all tubes, and waits until that is done: a few seconds at most. Twice is nothing."""
        if self._process != os.getpid():
            return
        self._native.close()
        if not self._is_calling():
            self._thread.join(_GOODBYE)

    def _is_calling(self) -> bool:
        return threading.current_thread() is self._thread

    def _told(self, number: int, what: str, text: str) -> None:
        tube = self._numbered[number]
        if what == "over":
            del self._numbered[number]
            if self._tubes.get(tube.tube_id) is tube:
                del self._tubes[tube.tube_id]
        tube._told(what, text)


_registries: weakref.WeakSet[TubeRegistry] = weakref.WeakSet()


def _tell(native: _native.Tubes, registry: weakref.ref[TubeRegistry]) -> None:
    """Tells what happens, for as long as anything does."""
    while (event := native.next_event()) is not None:
        alive = registry()
        if alive is not None:
            alive._told(*event)
        del alive


def _abandon(native: _native.Tubes, process: int) -> None:
    if process == os.getpid():
        native.abandon()


def _close_all() -> None:
    for registry in tuple(_registries):
        try:
            registry.close()
        except Exception:
            log.exception("tubes were not closed in time")


atexit.register(_close_all)
