"""Managers, and where they are found."""

import asyncio
import gc
import threading
import unittest

from ends import SOON, Ends, States
from loaner.connection_manager import (
    ConnectionMetrics,
    ConnectionState,
    ICERestartPolicy,
    NetworkChangeType,
    RestartError,
    TubeClosedError,
    TubeRegistry,
    TunnelConnectionManager,
    get_connection_manager,
    register_connection_manager,
    unregister_connection_manager,
)


def manager_in(registry, handler=None):
    tube = registry.create_tube("conversation")
    return TunnelConnectionManager(tube.tube_id, "conversation", registry, handler)


class Managers(unittest.TestCase):
    def setUp(self):
        self.registry = TubeRegistry()
        self.addCleanup(self.registry.close)

    def test_a_new_one(self):
        """It is initializing, keeps what it was made with, and has the fields that the guide's has."""
        tube = self.registry.create_tube("conversation")
        handler = lambda signal: None
        manager = TunnelConnectionManager(
            tube_id=tube.tube_id, conversation_id="conversation", tube_registry=self.registry, signal_handler=handler
        )
        self.assertEqual((manager.tube_id, manager.conversation_id), (tube.tube_id, "conversation"))
        self.assertIs(manager.tube_registry, self.registry)
        self.assertIs(manager.signal_handler, handler)
        self.assertIs(manager.state, ConnectionState.INITIALIZING)
        self.assertIsInstance(manager.metrics, ConnectionMetrics)
        self.assertEqual(manager.restart_policy, ICERestartPolicy())
        self.assertEqual((manager.state_change_callbacks, manager.network_change_callbacks), ([], []))
        self.assertEqual((manager.restart_task, manager.monitoring_task), (None, None))
        self.assertFalse(manager.shutdown_requested)

    def test_what_it_is_made_with_is_checked(self):
        """What cannot be is refused with what to do instead."""
        with self.assertRaisesRegex(LookupError, "create_tube"):
            TunnelConnectionManager("nowhere", "conversation", self.registry, None)
        with self.assertRaisesRegex(TypeError, "TubeRegistry"):
            TunnelConnectionManager("nowhere", "conversation", object(), None)
        manager = manager_in(self.registry)
        with self.assertRaisesRegex(TypeError, "callable"):
            manager.add_state_change_callback("print")
        with self.assertRaisesRegex(ValueError, "unregister"):
            self.registry.create_tube(tube_id=manager.tube_id)
        for options in [
            {"tube_id": ""},
            {"tube_id": "x" * 257},
            {"role": "guest"},
            {"keepalive": 0.5},
            {"patience": -1.0},
            {"patience": float("nan")},
        ]:
            with self.assertRaises(ValueError, msg=options):
                self.registry.create_tube(**options)
        servers = [{"urls": "stun:127.0.0.1:1"}, {"urls": ["turn:127.0.0.1:1"], "username": "ann", "credential": "secret"}]
        self.registry.create_tube(ice_servers=servers)
        with self.assertRaises((KeyError, TypeError)):
            self.registry.create_tube(ice_servers=[{"url": "stun:127.0.0.1:1"}])

    def test_activity_goes_forward(self):
        """Each update of the activity is later than the one before, from any thread, without a loop."""
        manager = manager_in(self.registry)
        for _ in range(3):
            before = manager.metrics.last_activity
            updating = threading.Thread(target=lambda: [manager.update_activity() for _ in range(1000)])
            updating.start()
            updating.join(SOON)
            self.assertGreater(manager.metrics.last_activity, before)

    def test_registered_found_and_unregistered(self):
        """TUN-12: managers are found by their tube's id, and do not touch each other; who is unregistered is shut down."""
        managers = [manager_in(self.registry) for _ in range(3)]
        for manager in managers:
            self.assertIsNone(get_connection_manager(manager.tube_id))
            register_connection_manager(manager)
            register_connection_manager(manager)
        for manager in managers:
            self.assertIs(get_connection_manager(manager.tube_id), manager)
        first, second, third = managers
        states = States(first)
        asyncio.run(unregister_connection_manager(first.tube_id))
        self.assertIsNone(get_connection_manager(first.tube_id))
        self.assertEqual(states.told, [ConnectionState.TERMINATED])
        self.assertTrue(first.shutdown_requested)
        self.assertEqual(self.registry.tube_ids(), sorted([second.tube_id, third.tube_id]))
        self.assertIs(second.state, ConnectionState.INITIALIZING)
        asyncio.run(unregister_connection_manager(first.tube_id))
        asyncio.run(unregister_connection_manager("nowhere"))
        with self.assertRaises(TubeClosedError):
            register_connection_manager(first)

    def test_one_manager_for_a_tube(self):
        """Another manager of a registered tube is refused."""
        manager = manager_in(self.registry)
        register_connection_manager(manager)
        other = TunnelConnectionManager(manager.tube_id, "conversation", self.registry, None)
        with self.assertRaisesRegex(ValueError, "unregister"):
            register_connection_manager(other)

    def test_one_that_ends_leaves(self):
        """A tube that was closed is found no more, and another one may have its id."""
        manager = manager_in(self.registry)
        register_connection_manager(manager)
        manager.tube.close()
        manager.tube.wait_closed(SOON)
        self.assertIsNone(get_connection_manager(manager.tube_id))
        self.assertEqual(self.registry.tube_ids(), [])
        self.registry.create_tube(tube_id=manager.tube_id)

    def test_shutdown_twice(self):
        """A shutdown tells `terminated` once; another one, and one after it was unregistered, is nothing."""
        manager = manager_in(self.registry)
        states = States(manager)

        manager.tube.add_signal_callback(lambda signal: None)

        async def twice():
            await manager.start_monitoring()
            await asyncio.gather(manager.shutdown(), manager.shutdown())
            await manager.shutdown()
            await unregister_connection_manager(manager.tube_id)

        asyncio.run(asyncio.wait_for(twice(), SOON))
        self.assertIs(manager.state, ConnectionState.TERMINATED)
        self.assertEqual(states.told[-1], ConnectionState.TERMINATED)
        self.assertEqual(states.told.count(ConnectionState.TERMINATED), 1)
        with self.assertRaises(TubeClosedError):
            asyncio.run(manager.restart())

    def test_no_restart_before_it_is_connected(self):
        """There is nothing to restart yet, and the error says so."""
        manager = manager_in(self.registry)
        with self.assertRaisesRegex(RestartError, "not connected"):
            asyncio.run(manager.restart())

    def test_what_is_forgotten_is_closed(self):
        """TUN-17: a registry that nobody has any more closes its tubes, and its thread ends."""
        registry = TubeRegistry()
        tube, thread = registry.create_tube(), registry._thread
        del registry
        gc.collect()
        tube.wait_closed(SOON)
        thread.join(SOON)
        self.assertFalse(thread.is_alive())

    def test_many_at_once(self):
        """TUN-18: a hundred managers come and go, and leave no thread behind."""
        threads = threading.active_count()
        for _ in range(100):
            manager = manager_in(self.registry)
            register_connection_manager(manager)
            manager.tube.add_signal_callback(lambda signal: None)
            manager.tube.start()
        for tube_id in self.registry.tube_ids():
            self.registry.tube(tube_id).close()
        self.registry.close()
        self.assertEqual(self.registry.tube_ids(), [])
        self.assertIsNone(get_connection_manager(manager.tube_id))
        self.assertLess(threading.active_count(), threads)


class Connected(unittest.TestCase):
    """Managers of real tubes."""

    def test_states_come_in_order(self):
        """TUN-10: initializing, connecting, connected, terminated: each change is told once, with the tube's id."""
        with Ends() as ends:
            told = []
            ends.manager.add_state_change_callback(lambda tube_id, state: told.append((tube_id, state.value)))
            self.assertIs(ends.manager.state, ConnectionState.INITIALIZING)
            ends.connect()
            self.assertIs(ends.manager.state, ConnectionState.CONNECTED)
            asyncio.run(ends.manager.shutdown())
        names = ["connecting", "connected", "terminated"]
        self.assertEqual(told, [(ends.manager.tube_id, name) for name in names])
        self.assertEqual([state.value for state in ends.states.told], names)

    def test_a_restart_by_hand(self):
        """TUN-05: it is restarted, nothing is lost, and it counts; the next has to wait 5 s."""
        with Ends() as ends:
            ends.connect()
            ends.near.send(b"before", SOON)
            asyncio.run(ends.manager.restart())
            ends.near.send(b"after", SOON)
            ends.states.wait(ConnectionState.RECONNECTING)
            ends.states.wait(ConnectionState.CONNECTED)
            self.assertEqual([ends.far.recv(SOON), ends.far.recv(SOON)], [b"before", b"after"])
            metrics = ends.manager.metrics
            self.assertEqual((metrics.ice_restart_attempts, metrics.reconnection_attempts), (1, 1))
            self.assertGreater(metrics.last_restart_time, 0)
            with self.assertRaisesRegex(RestartError, "try again in"):
                asyncio.run(ends.manager.restart())

    def test_a_change_of_the_network(self):
        """TUN-07: a change that the program tells of is told to all; a program that reports back what it is told, as the
        guide's handler does, makes no storm of it."""
        kinds = []

        class Handler:
            def signal_from_rust(self, response):
                kinds.append((response["kind"], response["data"]))
                if response["kind"] == "network_change_detected":
                    asyncio.run(manager.handle_network_change(response["data"]))

        with Ends(Handler()) as ends:
            manager = ends.connect().manager
            changes, seen = [], threading.Event()
            manager.add_network_change_callback(lambda tube_id, change: changes.append((tube_id, change)))
            manager.add_network_change_callback(lambda tube_id, change: seen.set())
            asyncio.run(manager.handle_network_change(NetworkChangeType.IP_ADDRESS_CHANGE, {"from": "the program"}))
            self.assertTrue(seen.wait(SOON))
            ends.near.send(b"still there", SOON)
            self.assertEqual(ends.far.recv(SOON), b"still there")
            asyncio.run(manager.shutdown())
        self.assertEqual(changes, [(manager.tube_id, NetworkChangeType.IP_ADDRESS_CHANGE)])
        self.assertEqual(kinds.count(("network_change_detected", "ip_change")), 1)
        with self.assertRaises(ValueError):
            asyncio.run(manager.handle_network_change("rain"))


if __name__ == "__main__":
    unittest.main()
