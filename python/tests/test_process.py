"""Forks, and the end of a program."""

import pathlib
import signal
import subprocess
import sys
import unittest

TESTS = pathlib.Path(__file__).parent

CONNECT = """
import asyncio, os, sys, threading, time
sys.path.insert(0, sys.argv[1])
from ends import SOON, Ends
from loaner.connection_manager import TubeError, TubeRegistry, get_connection_manager, register_connection_manager
ends = Ends().connect()
register_connection_manager(ends.manager)
"""


def run(program, begin=CONNECT):
    """Runs a program that begins with two ends of a tube."""
    return subprocess.run(
        [sys.executable, "-I", "-W", "always::ResourceWarning", "-c", begin + program, TESTS],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class Process(unittest.TestCase):
    def check(self, program, output):
        ended = run(program)
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, output, ""))

    def test_a_program_may_just_end(self):
        """A program that closes nothing ends all the same, with threads that wait, coroutines that do, and callbacks to come."""
        self.check(
            """
async def forever(tube_id, state):
    await asyncio.Event().wait()
ends.manager.add_state_change_callback(forever)
for waiting in [ends.near.recv, ends.far.recv, ends.near.wait_closed]:
    threading.Thread(target=waiting, daemon=True).start()
async def waits():
    asyncio.create_task(ends.near.recv_async())
    await asyncio.sleep(0)
asyncio.run(waits())
ends.near.send(b"on its way")
print("the end")
""",
            "the end\n",
        )

    def test_a_program_may_end_with_an_error(self):
        """So does one that ends by an exception, with its own exit code."""
        ended = run('raise SystemExit("wrong")')
        self.assertEqual((ended.returncode, ended.stderr), (1, "wrong\n"))

    def test_fork(self):
        """The child of a fork is told that tubes stay with the parent, and ends; the parent goes on."""
        self.check(
            """
import warnings
# Later versions warn of forks beside threads; this one is on purpose.
warnings.simplefilter("ignore", DeprecationWarning)
child = os.fork()
if child == 0:
    for use in [lambda: ends.near.send(b""), lambda: ends.manager.state, ends.near.close, TubeRegistry]:
        try:
            use()
        except TubeError as error:
            print("forked" in str(error), flush=True)
    print(get_connection_manager(ends.manager.tube_id), flush=True)
    ends.close()
    del ends
    sys.exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
ends.near.send(b"parent")
print(ends.far.recv(SOON))
""",
            "True\nTrue\nTrue\nTrue\nNone\n0\nb'parent'\n",
        )

    def test_fork_before(self):
        """A child that was forked before there were tubes may have its own, as the parent may."""
        program = """
import os, sys
sys.path.insert(0, sys.argv[1])
from ends import SOON, Ends
child = os.fork()
with Ends() as ends:
    ends.connect().near.send(b"its own")
    print(ends.far.recv(SOON), flush=True)
if child:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
        ended = run(program, "")
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, "b'its own'\nb'its own'\n0\n", ""))

    def test_ctrl_c_ends_the_waiting(self):
        """Ctrl+C ends what waits for a message; nothing else has to happen."""
        program = CONNECT + "print('ready', flush=True)\nends.near.recv()"
        command = [sys.executable, "-I", "-c", program, TESTS]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
            self.assertEqual(waiting.stdout.readline(), "ready\n")
            waiting.send_signal(signal.SIGINT)
            _, errors = waiting.communicate(timeout=120)
        self.assertIn("KeyboardInterrupt", errors)
        self.assertEqual(waiting.returncode, -signal.SIGINT)


if __name__ == "__main__":
    unittest.main()
