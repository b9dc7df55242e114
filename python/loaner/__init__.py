"""Loaner's connection managers for Python: tubes between two peers that outlive the network they began on.

:mod:`loaner.connection_manager` is the module of the WebSocket integration guide, and :mod:`loaner.tubes` has the tubes.
"""

from __future__ import annotations

from .connection_manager import (
    PEER_SIGNALS,
    ConnectionMetrics,
    ConnectionState,
    ICERestartPolicy,
    NetworkChangeType,
    Receipt,
    RestartError,
    Tube,
    TubeClosedError,
    TubeError,
    TubeRegistry,
    TunnelConnectionManager,
    get_connection_manager,
    register_connection_manager,
    unregister_connection_manager,
)

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
