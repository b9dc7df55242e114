"""What comes over a program's WebSocket."""

import asyncio
import json
import unittest

from ends import SOON, Ends
from loaner.connection_manager import TubeClosedError, TubeRegistry


class Messages(unittest.TestCase):
    def setUp(self):
        self.registry = TubeRegistry()
        self.addCleanup(self.registry.close)
        self.tube = self.registry.create_tube("conversation")

    def message(self, **members):
        return {"tube_id": self.tube.tube_id, "kind": "chat", "data": "text", "conversation_id": None, **members}

    def test_one_or_many(self):
        """TUN-13: one object or an array of them, as a text, as bytes or as Python has them: each goes to its tube."""
        other = self.registry.create_tube()
        one, two = self.message(data=1), self.message(data=2, tube_id=other.tube_id)
        for given, messages in [
            (one, [one]),
            ([one, two], [one, two]),
            (json.dumps(one), [one]),
            (json.dumps([two, one]), [two, one]),
            (json.dumps([one]).encode(), [one]),
            ([], []),
        ]:
            receipt = self.registry.receive(given)
            self.assertEqual((receipt.taken, receipt.messages, receipt.errors), (0, messages, []))

    def test_a_message_is_activity(self):
        """TUN-14: any message of a tube counts as activity of that one, and of no other."""
        other = self.registry.create_tube()
        before, before_other = self.tube.metrics.last_activity, other.metrics.last_activity
        self.registry.receive(self.message())
        self.assertGreater(self.tube.metrics.last_activity, before)
        self.assertEqual(other.metrics.last_activity, before_other)

    def test_payloads_are_not_read(self):
        """TUN-16: the data of the program's own messages comes out as it went in."""
        for data in ["", "AAEC/+8=", {"nested": [{"deep": None}]}, [1, 2.5, True], 12345678901234567890, "\u0000\u2028é"]:
            receipt = self.registry.receive([self.message(data=data)])
            self.assertEqual([message["data"] for message in receipt.messages], [data])

    def test_what_is_wrong_is_said_and_stops_nothing(self):
        """Garbage raises nothing: it is an error in the receipt, and the messages beside it are taken."""
        deep = "[" * 10_000 + "]" * 10_000
        loop = []
        loop.append(loop)
        for garbage in ["", "{", "null", "3", '"text"', deep, b"\xff\xfe", "x" * (2 << 20), object(), loop, {1: object()}]:
            receipt = self.registry.receive(garbage)
            self.assertEqual((receipt.taken, receipt.messages), (0, []))
            self.assertEqual(len(receipt.errors), 1, garbage)
        strange = [
            {},
            {"tube_id": "nowhere", "kind": "chat"},
            {"tube_id": 3, "kind": "chat"},
            self.message(kind="offer", data=None),
            self.message(kind="answer", data="v=0", generation="first"),
            "text",
        ]
        good = self.message()
        receipt = self.registry.receive([*strange, good])
        self.assertEqual((receipt.taken, receipt.messages), (0, [good]))
        self.assertEqual(len(receipt.errors), len(strange))
        long = '{"tube_id": "%s", "kind": "chat", "data": %s}' % (self.tube.tube_id, "9" * 10_000)
        self.assertEqual(len(self.registry.receive(long).errors), 1)

    def test_signals_are_as_documented(self):
        """TUN-15: signals name their tube, kind, data and conversation; those for the peer have a generation."""
        signals = []
        with Ends(signals.append) as ends:
            ends.connect()
        kinds = {signal["kind"]: signal for signal in signals}
        self.assertEqual(
            [signal["data"] for signal in signals if signal["kind"] == "connection_state_changed"],
            ["connecting", "connected", "terminated"],
        )
        for signal in signals:
            self.assertEqual((signal["tube_id"], signal["conversation_id"]), (ends.near.tube_id, "conversation"))
            self.assertIsInstance(signal["data"], str)
        self.assertEqual([signal["signal_id"] for signal in signals], [str(n + 1) for n in range(len(signals))])
        self.assertEqual(kinds["offer"]["generation"], 1)
        self.assertTrue(kinds["offer"]["data"].startswith("v=0"))


class Bytes(unittest.TestCase):
    def test_bytes_go_both_ways(self):
        """Messages of all sizes arrive as they are, in order, in both directions; what is too large is refused."""
        sizes = [0, 1, 1000, 65_536, 262_144]
        with Ends() as ends:
            # What is sent before there is a connection waits for it.
            ends.near.send(b"early", SOON)
            with self.assertRaises(TimeoutError):
                ends.near.recv(0.05)
            ends.connect()
            self.assertEqual(ends.far.recv(SOON), b"early")
            for one, other in [(ends.near, ends.far), (ends.far, ends.near)]:
                for size in sizes:
                    one.send(bytes([size % 251]) * size, SOON)
                for size in sizes:
                    self.assertEqual(other.recv(SOON), bytes([size % 251]) * size)
            with self.assertRaisesRegex(ValueError, "262145"):
                ends.near.send(b"x" * 262_145)
            metrics = ends.manager.metrics
            self.assertEqual(metrics.bytes_sent, sum(sizes) + len(b"early"))
            self.assertEqual(metrics.bytes_received, sum(sizes))
            ends.near.send(b"last", SOON)
            ends.near.close()
            self.assertEqual(ends.far.recv(SOON), b"last")
            self.assertIsNone(ends.far.recv(SOON))

    def test_coroutines_lose_nothing(self):
        """Messages come to coroutines, too; those that are cancelled while they wait lose none, and keep the order."""

        cancelled = 0

        async def impatient(tube, count):
            nonlocal cancelled
            messages = []
            while len(messages) < count:
                try:
                    messages.append(await asyncio.wait_for(tube.recv_async(), 0.0005 * (1 + len(messages) % 3)))
                except asyncio.TimeoutError:
                    cancelled += 1
            return messages

        async def talk():
            numbers = [str(number).encode() for number in range(1000)]
            receiving = asyncio.create_task(impatient(ends.far, len(numbers)))
            for number in numbers:
                await ends.near.send_async(number)
                if number.endswith(b"0"):
                    await asyncio.sleep(0.002)
            self.assertEqual(await asyncio.wait_for(receiving, SOON), numbers)
            self.assertGreater(cancelled, 0)
            with self.assertRaises(ValueError):
                await ends.near.send_async(b"x" * 262_145)
            waiting = asyncio.create_task(ends.far.recv_async())
            await asyncio.sleep(0)
            await ends.manager.shutdown()
            self.assertIsNone(await asyncio.wait_for(waiting, SOON))
            with self.assertRaises(TubeClosedError):
                await ends.near.send_async(b"too late")

        with Ends() as ends:
            ends.connect()
            asyncio.run(talk())


if __name__ == "__main__":
    unittest.main()
