"""cupy.cuda.memory."""

from ..memory import MemoryPool, OutOfMemoryError

__all__ = ["MemoryPool", "OutOfMemoryError"]
