"""The knobs of the emulator. Real CuPy has no module of this name."""

ORDERS = ("forward", "backward", "shuffled")

thread_order = "forward"  # of the threads of a block: assign another of ORDERS before a launch


class EmulationError(AssertionError):
    """A kernel or a launch did what a GPU does not promise to bear: a fault of ours, never to be caught."""
