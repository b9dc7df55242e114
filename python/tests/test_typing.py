"""The package's types."""

import inspect
import os
import subprocess
import sys
import tempfile
import unittest

import loaner
import loaner.connection_manager


def mypy(module, *args):
    """Runs a part of mypy on the installed package."""
    with tempfile.TemporaryDirectory() as directory:
        env = {**os.environ, "MYPY_CACHE_DIR": directory}
        command = [sys.executable, "-I", "-m", module, *args]
        return subprocess.run(
            command, cwd=directory, env=env, capture_output=True, text=True, timeout=600, check=False
        )


class Types(unittest.TestCase):
    def test_types_are_right(self):
        """The package is typed throughout, and by its own types correct."""
        run = mypy("mypy", "--strict", "--package", "loaner")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_stubs_agree(self):
        """The stubs of the native half say what is there."""
        run = mypy("mypy.stubtest", "loaner")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_everything_is_documented(self):
        """Whatever has a name for others has a docstring."""
        for name in loaner.__all__:
            thing = getattr(loaner, name)
            self.assertIs(thing, getattr(loaner.connection_manager, name))
            if not callable(thing):
                continue
            self.assertTrue(inspect.getdoc(thing), name)
            for member, value in vars(thing).items() if inspect.isclass(thing) else ():
                if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                    self.assertTrue(inspect.getdoc(value), f"{name}.{member}")


if __name__ == "__main__":
    unittest.main()
