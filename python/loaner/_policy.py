"""What a manager is told and tells: states, changes, figures, and the rule of its restarts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Optional

__all__ = ["ConnectionMetrics", "ConnectionState", "ICERestartPolicy", "NetworkChangeType"]


class ConnectionState(Enum):
    """What a manager says of its tube."""

    INITIALIZING = "initializing"
    """Nothing has begun."""
    CONNECTING = "connecting"
    """The first connection is being made."""
    CONNECTED = "connected"
    """Data goes both ways."""
    RECONNECTING = "reconnecting"
    """The connection is lost, and is being brought back."""
    DEGRADED = "degraded"
    """There is doubt whether data still goes both ways."""
    FAILED = "failed"
    """It was given up for now: a restart by hand or a network that comes back may bring it back."""
    TERMINATED = "terminated"
    """It is over."""


class NetworkChangeType(Enum):
    """What can happen to a network, or to a way through it."""

    INTERFACE_CHANGE = "interface_change"
    """An interface came, went, or lost the default route."""
    IP_ADDRESS_CHANGE = "ip_change"
    """An address came or went."""
    CONNECTION_TIMEOUT = "timeout"
    """Nothing came for too long."""
    ICE_FAILURE = "ice_failure"
    """ICE has failed."""
    QUALITY_DEGRADATION = "quality_degraded"
    """Too much is lost on the way."""


@dataclass
class ConnectionMetrics:
    """The figures of a tube. Times are seconds since 1970."""

    last_activity: float = field(default_factory=time.time)
    """When something last came."""
    ice_restart_attempts: int = 0
    """Attempts to bring it back that count at the moment."""
    reconnection_attempts: int = 0
    """Attempts to bring it back, ever."""
    last_restart_time: Optional[float] = None
    """When the last attempt was made."""
    last_quality_check: float = field(default_factory=time.time)
    """When these figures were taken."""
    packet_loss_rate: float = 0.0
    """The share of what is lost on the way, 0 to 1."""
    rtt_ms: Optional[float] = None
    """How long there and back takes, milliseconds, where it is known."""
    bytes_sent: int = 0
    """Bytes of messages that were sent."""
    bytes_received: int = 0
    """Bytes of messages that came."""
    connection_established_time: Optional[float] = None
    """When it was first connected."""


@dataclass
class ICERestartPolicy:
    """Whether a restart makes sense, by the figures of a tube: the rule of the integration guide.

    The tube keeps to the same waits by an account of its own; this is for a program that wants to know beforehand, or to
    show it. Times are seconds.
    """

    max_restart_attempts: int = 5
    """Attempts that may count at one time."""
    restart_backoff_base: float = 5.0
    """The shortest wait; each is twice the one before."""
    restart_backoff_max: float = 60.0
    """The wait from the fourth on."""
    restart_window: float = 300.0
    """How long an attempt counts."""
    quality_threshold: float = 0.8
    """The share that has to arrive."""
    timeout_threshold: float = 30.0
    """How long nothing may come."""

    def backoff(self, attempts: int) -> float:
        """How long to wait after a restart that so many came before: 5, 10, 20, and 60 from then on."""
        if attempts > 2:
            return self.restart_backoff_max
        return min(self.restart_backoff_max, self.restart_backoff_base * float(2 ** max(0, attempts)))

    def should_restart(self, metrics: ConnectionMetrics, change_type: NetworkChangeType) -> bool:
        """Whether a restart makes sense now, after such a change."""
        now = time.time()
        since = None if metrics.last_restart_time is None else now - metrics.last_restart_time
        counts = since is None or since < self.restart_window
        if counts and metrics.ice_restart_attempts >= self.max_restart_attempts:
            return False
        if since is not None and since < self.backoff(metrics.ice_restart_attempts):
            return False
        if change_type is NetworkChangeType.CONNECTION_TIMEOUT:
            was_connected = metrics.connection_established_time is not None
            return was_connected and now - metrics.last_activity > self.timeout_threshold
        if change_type is NetworkChangeType.QUALITY_DEGRADATION:
            return metrics.packet_loss_rate > 1.0 - self.quality_threshold
        return True
