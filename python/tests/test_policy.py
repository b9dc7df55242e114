"""The rule of restarts, in numbers."""

import time
import unittest

from loaner.connection_manager import ConnectionMetrics, ConnectionState, ICERestartPolicy, NetworkChangeType

INTERFACE = NetworkChangeType.INTERFACE_CHANGE


def after(attempts: int, seconds: float) -> ConnectionMetrics:
    """The figures so many seconds after a restart that so many came before."""
    return ConnectionMetrics(ice_restart_attempts=attempts, last_restart_time=time.time() - seconds)


class Policy(unittest.TestCase):
    def test_names_are_those_of_the_guide(self):
        """States and changes have the names and values that the integration guide and its module have."""
        states = "initializing connecting connected reconnecting degraded failed terminated"
        self.assertEqual([state.value for state in ConnectionState], states.split())
        self.assertEqual([state.name for state in ConnectionState], states.upper().split())
        changes = {change.name: change.value for change in NetworkChangeType}
        self.assertEqual(
            changes,
            {
                "INTERFACE_CHANGE": "interface_change",
                "IP_ADDRESS_CHANGE": "ip_change",
                "CONNECTION_TIMEOUT": "timeout",
                "ICE_FAILURE": "ice_failure",
                "QUALITY_DEGRADATION": "quality_degraded",
            },
        )

    def test_defaults(self):
        """The numbers that the guide names."""
        policy = ICERestartPolicy()
        self.assertEqual(policy.max_restart_attempts, 5)
        self.assertEqual((policy.restart_backoff_base, policy.restart_backoff_max), (5.0, 60.0))
        self.assertEqual(policy.restart_window, 300.0)
        self.assertEqual((policy.quality_threshold, policy.timeout_threshold), (0.8, 30.0))

    def test_backoff(self):
        """TUN-04: restarts wait 5, 10, 20, and then 60 s: blocked a second before, allowed a second after."""
        policy = ICERestartPolicy()
        for attempts, wait in enumerate([5, 10, 20, 60, 60]):
            self.assertEqual(policy.backoff(attempts), wait)
            self.assertFalse(policy.should_restart(after(attempts, wait - 1), INTERFACE), attempts)
            self.assertTrue(policy.should_restart(after(attempts, wait + 1), INTERFACE), attempts)

    def test_attempts_count_for_a_while(self):
        """Five attempts are enough, until the window of 300 s is over."""
        policy = ICERestartPolicy()
        self.assertTrue(policy.should_restart(ConnectionMetrics(), INTERFACE))
        self.assertFalse(policy.should_restart(ConnectionMetrics(ice_restart_attempts=5), INTERFACE))
        self.assertFalse(policy.should_restart(after(5, 299), INTERFACE))
        self.assertTrue(policy.should_restart(after(5, 301), INTERFACE))

    def test_changes_weigh_differently(self):
        """A time-out asks for silence after a connection, bad quality for loss; a failure of ICE asks for nothing more."""
        policy, now = ICERestartPolicy(), time.time()
        self.assertTrue(policy.should_restart(ConnectionMetrics(), NetworkChangeType.ICE_FAILURE))
        timeout = NetworkChangeType.CONNECTION_TIMEOUT
        for established, idle, restarts in [(None, 99, False), (now - 99, 29, False), (now - 99, 31, True)]:
            metrics = ConnectionMetrics(last_activity=now - idle, connection_established_time=established)
            self.assertIs(policy.should_restart(metrics, timeout), restarts)
        quality = NetworkChangeType.QUALITY_DEGRADATION
        for loss, restarts in [(0.1, False), (0.19, False), (0.3, True)]:
            self.assertIs(policy.should_restart(ConnectionMetrics(packet_loss_rate=loss), quality), restarts)


if __name__ == "__main__":
    unittest.main()
