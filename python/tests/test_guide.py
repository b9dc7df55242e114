"""The walk-through of the guide is run as it is."""

import pathlib
import subprocess
import sys
import unittest

EXAMPLE = pathlib.Path(__file__).parent.parent / "examples" / "guide.py"


class Guide(unittest.TestCase):
    def test_walk_through(self):
        """Initialize, connect, monitor, handle changes, clean up: each step does what the guide says, and then it ends."""
        command = [sys.executable, "-I", "-W", "always::ResourceWarning", EXAMPLE]
        run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        lines = iter(run.stdout.splitlines())
        for line in [
            "1. initialize",
            "2. connect",
            "state: connecting",
            "state: connected",
            "echo: b'hello'",
            "3. monitor",
            "sent 5 and received 5 bytes",
            "4. handle changes",
            "state: reconnecting",
            "state: connected",
            "network change: ip_change",
            "5. cleanup",
            "state: terminated",
            "state at the end: terminated",
        ]:
            self.assertIn(line, lines, run.stdout)
        for echo in ["still there?", "and now?"]:
            self.assertIn(f"echo: {echo.encode()}", run.stdout)


if __name__ == "__main__":
    unittest.main()
