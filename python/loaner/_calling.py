"""Calls the functions that a program has given, sync or async, from whichever thread has something to tell."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import logging
import os
import threading
from typing import Any, Awaitable, Callable

log = logging.getLogger("loaner")

# How long the end of the program waits for what runs on the loop of the package.
_GOODBYE = 2.0


class OwnLoop:
    """The event loop of the package, for what was given where none ran. Its thread starts with its first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ended = False

    def get(self) -> asyncio.AbstractEventLoop | None:
        """The loop; nothing once it has ended."""
        with self._lock:
            if self._loop is None and not self._ended:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._run, args=(self._loop,), name="loaner-loop", daemon=True
                )
                self._thread.start()
            return self._loop

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        finally:
            loop.close()

    def end(self) -> None:
        """Cancels what runs on it, and ends it."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop, self._ended = None, True
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_GOODBYE)


own_loop = OwnLoop()


def _in_child() -> None:
    """In a process that was forked off: the thread of the loop is not here."""
    global own_loop
    own_loop = OwnLoop()


# What is registered later is done earlier: tubes say their last before this ends.
atexit.register(lambda: own_loop.end())
os.register_at_fork(after_in_child=_in_child)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Callback:
    """A function to be called later, and the loop that ran when it was given."""

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError(f"a callback has to be callable, and {function!r} is not")
        self.function = function
        self._loop = running_loop()

    def __call__(self, *args: Any) -> None:
        """Calls it here, or has what it returns awaited on its loop. What it raises is logged, and raised no further."""
        try:
            result = self.function(*args)
        # Also SystemExit: the thread that calls is not the program's.
        except BaseException:
            self._failed()
            return
        if inspect.isawaitable(result):
            self._schedule(result)

    def _schedule(self, awaitable: Awaitable[Any]) -> None:
        coroutine = self._awaited(awaitable)
        for loop in (self._loop, own_loop.get()):
            # One that was closed since is no place to wait for anything.
            if loop is None or loop.is_closed():
                continue
            try:
                asyncio.run_coroutine_threadsafe(coroutine, loop)
                return
            except RuntimeError:
                continue
        coroutine.close()
        if inspect.iscoroutine(awaitable):
            awaitable.close()

    async def _awaited(self, awaitable: Awaitable[Any]) -> None:
        try:
            await awaitable
        except Exception:
            self._failed()

    def _failed(self) -> None:
        log.exception("a callback failed: %r", self.function)
