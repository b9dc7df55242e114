"""Callbacks, sync and async, from and in whichever thread."""

import asyncio
import queue
import threading
import unittest

from ends import SOON, Ends
from loaner.connection_manager import ConnectionState, TubeRegistry


def where():
    """The thread in which this is called, and the loop that runs there."""
    try:
        return threading.current_thread().name, asyncio.get_running_loop()
    except RuntimeError:
        return threading.current_thread().name, None


class Callbacks(unittest.TestCase):
    def setUp(self):
        self.registry = TubeRegistry()
        self.addCleanup(self.registry.close)
        self.tube = self.registry.create_tube("conversation")
        self.tube.add_signal_callback(lambda signal: None)
        self.told = queue.Queue()

    def sync_note(self, tube_id, state):
        self.told.put((tube_id, state, *where()))

    async def async_note(self, tube_id, state):
        await asyncio.sleep(0)
        self.told.put((tube_id, state, *where()))

    def next(self):
        return self.told.get(timeout=SOON)

    def assert_terminated(self, told, thread, loop):
        self.assertEqual(told, (self.tube.tube_id, ConnectionState.TERMINATED, thread, loop))

    def test_sync_without_a_loop(self):
        """A function is called on a thread of the registry."""
        self.tube.add_state_change_callback(self.sync_note)
        self.tube.close()
        self.assert_terminated(self.next(), "loaner-events", None)

    def test_async_on_the_loop_where_it_was_added(self):
        """A coroutine that was added where a loop runs runs on that loop."""

        async def run():
            self.tube.add_state_change_callback(self.async_note)
            self.tube.close()
            told = await asyncio.to_thread(self.next)
            self.assert_terminated(told, "MainThread", asyncio.get_running_loop())

        asyncio.run(run())

    def test_async_without_a_loop(self):
        """One that was added where none runs, or whose loop has ended, runs on a loop of the package's own."""

        async def add():
            self.tube.add_state_change_callback(self.async_note)

        self.tube.add_state_change_callback(self.async_note)
        asyncio.run(add())
        self.tube.close()
        first, second = self.next(), self.next()
        self.assertEqual(first[2], "loaner-loop")
        self.assertIsNotNone(first[3])
        self.assertEqual(first, second)

    def test_one_that_fails_stops_no_other(self):
        """TUN-11: what a callback raises, at once or in a coroutine, is logged, and the others are called all the same."""

        def fails(tube_id, state):
            raise ValueError("this callback always fails")

        async def fails_later(tube_id, state):
            await asyncio.sleep(0)
            raise ValueError("this callback fails later")

        def leaves(tube_id, state):
            raise SystemExit(3)

        def takes_nothing():
            pass

        failing = [fails, fails_later, leaves, takes_nothing]
        for callback in failing:
            self.tube.add_state_change_callback(callback)
        self.tube.add_state_change_callback(self.sync_note)
        self.tube.add_state_change_callback(self.async_note)
        with self.assertLogs("loaner", "ERROR") as logs:
            self.tube.start()
            self.tube.close()
            while self.next()[1] is not ConnectionState.TERMINATED:
                pass
            # Coroutines of one loop begin in order: when the last has told, the failing one has failed.
            while self.next()[1] is not ConnectionState.TERMINATED:
                pass
        text = "\n".join(logs.output)
        for callback in failing:
            self.assertIn(callback.__qualname__, text)
        self.assertIn("this callback fails later", text)

    def test_callbacks_may_do_anything(self):
        """A callback that looks at its tube, adds callbacks, sends, receives and closes does not stop anything."""
        with Ends() as ends:
            answers = queue.Queue()

            def busy(tube_id, state):
                ends.manager.update_activity()
                self.assertGreater(ends.manager.metrics.last_activity, 0)
                ends.manager.add_state_change_callback(lambda tube_id, state: None)
                if state is ConnectionState.CONNECTED:
                    ends.near.send(b"from a callback", SOON)
                    answers.put(ends.near.recv(SOON))
                    # Its last word can only be said when this returns.
                    asyncio.run(ends.manager.shutdown())
                answers.put(state)

            ends.manager.add_state_change_callback(busy)
            ends.near.start()
            self.assertEqual(ends.far.recv(SOON), b"from a callback")
            ends.far.send(b"answer", SOON)
            told = [answers.get(timeout=SOON) for _ in range(4)]
        states = [ConnectionState.CONNECTING, b"answer", ConnectionState.CONNECTED, ConnectionState.TERMINATED]
        self.assertEqual(told, states)

    def test_from_many_threads_at_once(self):
        """Threads that add callbacks, look and tell of activity while the tube connects do not disturb it or each other."""
        with Ends() as ends:
            done, told = threading.Event(), []

            def work():
                ends.manager.add_state_change_callback(lambda tube_id, state: told.append(state))
                while not done.is_set():
                    ends.manager.update_activity()
                    self.assertIsInstance(ends.manager.state, ConnectionState)
                    self.assertEqual(ends.registries[0].receive("[]").errors, [])

            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            ends.connect()
            done.set()
            for thread in threads:
                thread.join(SOON)
                self.assertFalse(thread.is_alive())
            asyncio.run(ends.manager.shutdown())
        self.assertEqual(told.count(ConnectionState.TERMINATED), 8)


if __name__ == "__main__":
    unittest.main()
