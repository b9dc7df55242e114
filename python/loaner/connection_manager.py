"""Connection managers of tubes, as the WebSocket integration guide has them.

A manager sees to it that a tube goes on when its network changes or its connection is lost, and tells of it::

    manager = TunnelConnectionManager(tube_id, conversation_id, tube_registry, signal_handler)
    manager.add_state_change_callback(your_callback_function)
    register_connection_manager(manager)
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any, Callable, Optional, Union

from ._policy import ConnectionMetrics, ConnectionState, ICERestartPolicy, NetworkChangeType
from .tubes import PEER_SIGNALS, Receipt, RestartError, Tube, TubeClosedError, TubeError, TubeRegistry

__all__ = [
    "PEER_SIGNALS",
    "ConnectionMetrics",
    "ConnectionState",
    "ICERestartPolicy",
    "NetworkChangeType",
    "Receipt",
    "RestartError",
    "Tube",
    "TubeClosedError",
    "TubeError",
    "TubeRegistry",
    "TunnelConnectionManager",
    "get_connection_manager",
    "register_connection_manager",
    "unregister_connection_manager",
]


class TunnelConnectionManager:
    """The manager of one tube.

    Its state is kept by the tube itself, which recovers on its own: what a program does here is to listen, to tell what it
    knows better, and to end it. Everything but the coroutines may be called from any thread, with or without a loop.
    """

    def __init__(
        self,
        tube_id: str,
        conversation_id: str,
        tube_registry: TubeRegistry,
        signal_handler: Any,
    ) -> None:
        """``tube_registry`` has the tube. ``signal_handler`` gets every signal: by its method ``signal_from_rust``, or
        called itself; ``None`` gets none.

        Raises ``LookupError`` where the registry has no such tube.
        """
        if not isinstance(tube_registry, TubeRegistry):
            raise TypeError(f"tube_registry has to be a loaner.TubeRegistry, not {tube_registry!r}")
        self.tube_id = tube_id
        self.conversation_id = conversation_id
        self.tube_registry = tube_registry
        self.signal_handler = signal_handler
        self.restart_policy = ICERestartPolicy()
        self.shutdown_requested = False
        self.state_change_callbacks: list[Callable[[str, ConnectionState], Any]] = []
        self.network_change_callbacks: list[Callable[[str, NetworkChangeType], Any]] = []
        # Neither is a task here: threads of the library do it.
        self.restart_task: Optional[asyncio.Task[None]] = None
        self.monitoring_task: Optional[asyncio.Task[None]] = None
        self._tube = tube_registry.tube(tube_id)
        if signal_handler is not None:
            self._tube.add_signal_callback(getattr(signal_handler, "signal_from_rust", signal_handler))

    def __repr__(self) -> str:
        return f"<TunnelConnectionManager of {self._tube!r}>"

    @property
    def tube(self) -> Tube:
        """Its tube."""
        return self._tube

    @property
    def state(self) -> ConnectionState:
        """The state of its tube."""
        return self._tube.state

    @property
    def metrics(self) -> ConnectionMetrics:
        """The figures of its tube, as they are now."""
        return self._tube.metrics

    def add_state_change_callback(self, callback: Callable[[str, ConnectionState], Any]) -> None:
        """Calls this with the tube's id and its state, once for every change: see :meth:`Tube.add_state_change_callback`."""
        self._tube.add_state_change_callback(callback)
        self.state_change_callbacks.append(callback)

    def add_network_change_callback(self, callback: Callable[[str, NetworkChangeType], Any]) -> None:
        """Calls this with the tube's id and every change of the network or the path that is noticed."""
        self._tube.add_network_change_callback(callback)
        self.network_change_callbacks.append(callback)

    def update_activity(self) -> None:
        """There was a sign of activity, such as any message of the WebSocket."""
        self._tube.update_activity()

    async def start_monitoring(self) -> None:
        """Begins: the tube connects, and is watched over from here on."""
        self._tube.start()

    async def handle_network_change(
        self, change_type: Union[NetworkChangeType, str], data: Optional[Any] = None
    ) -> None:
        """Something has happened to the network, as the program knows: see :meth:`Tube.handle_network_change`. ``data`` is
        the program's, and not looked at."""
        self._tube.handle_network_change(change_type)

    async def restart(self) -> None:
        """Restarts the connection now, by hand.

        Raises :class:`RestartError` where that cannot be, such as before the backoff of the last attempt is over.
        """
        await asyncio.to_thread(self._tube.restart)

    async def shutdown(self) -> None:
        """Ends the tube: says goodbye, and releases everything it had. Twice is nothing."""
        self.shutdown_requested = True
        self._tube.close()
        if not self.tube_registry._is_calling():
            await asyncio.to_thread(self._tube.wait_closed)


_lock = threading.Lock()
_managers: dict[str, TunnelConnectionManager] = {}


def _forget_all() -> None:
    """In a process that was forked off: they belong to the parent."""
    global _lock
    _lock = threading.Lock()
    _managers.clear()


os.register_at_fork(after_in_child=_forget_all)


def _forget(manager: TunnelConnectionManager) -> None:
    with _lock:
        if _managers.get(manager.tube_id) is manager:
            del _managers[manager.tube_id]


def register_connection_manager(manager: TunnelConnectionManager) -> None:
    """Takes a manager in, to be found by the id of its tube. It leaves by itself when the tube ends.

    Raises ``ValueError`` where there is another one of that tube, and :class:`TubeClosedError` where the tube is closed.
    """
    with _lock:
        known = _managers.get(manager.tube_id)
        if known is manager:
            return
        if known is not None and not known.tube.is_closed:
            raise ValueError(
                f"there is a manager of the tube {manager.tube_id!r} already; unregister it first"
            )
        if manager.state is ConnectionState.TERMINATED:
            raise TubeClosedError(f"the tube {manager.tube_id!r} is closed; make a new one")
        _managers[manager.tube_id] = manager
    manager.tube._at_end(lambda: _forget(manager))


def get_connection_manager(tube_id: str) -> Optional[TunnelConnectionManager]:
    """The manager of this tube, if one is registered."""
    with _lock:
        return _managers.get(tube_id)


async def unregister_connection_manager(tube_id: str) -> None:
    """Takes a manager out, and shuts it down. Nothing happens where there is none."""
    with _lock:
        manager = _managers.pop(tube_id, None)
    if manager is not None:
        await manager.shutdown()
