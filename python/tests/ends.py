"""Two ends of a tube in one process. What one signals, the other receives, at once, on the thread that signals."""

import queue

from loaner.connection_manager import PEER_SIGNALS, ConnectionState, TubeRegistry, TunnelConnectionManager

# How long anything may take: generous, for it ends as soon as it is there.
SOON = 60.0


class Ends:
    """Both ends, each with a registry of its own."""

    def __init__(self, signal_handler=None, **options):
        self.registries = near, far = TubeRegistry(), TubeRegistry()
        self.near = near.create_tube("conversation", **options)
        self.far = far.create_tube("conversation", role="responder", tube_id=self.near.tube_id)
        self.near.add_signal_callback(lambda signal: self.carry(signal, far))
        self.far.add_signal_callback(lambda signal: self.carry(signal, near))
        self.manager = TunnelConnectionManager(self.near.tube_id, "conversation", near, signal_handler)
        self.states = States(self.manager)
        self.carries = True

    def carry(self, signal, registry):
        """The WebSocket between them."""
        if self.carries and signal["kind"] in PEER_SIGNALS:
            registry.receive(signal)

    def connect(self):
        """Connects them."""
        self.near.start()
        self.states.wait(ConnectionState.CONNECTED)
        return self

    def close(self):
        """Closes both."""
        for registry in self.registries:
            registry.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class States:
    """The states that a manager or a tube has told of."""

    def __init__(self, of):
        self.told = []
        self._next = queue.Queue()
        of.add_state_change_callback(self._note)

    def _note(self, tube_id, state):
        self.told.append(state)
        self._next.put(state)

    def wait(self, wanted):
        """Takes them until this one comes."""
        while (state := self._next.get(timeout=SOON)) is not wanted:
            assert state is not ConnectionState.TERMINATED, f"{wanted} never came: {self.told}"
