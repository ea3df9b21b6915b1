"""What a run asks of Python and NumPy, so that nothing keeps its device waiting."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

__all__ = ["undisturbed"]

# The thread that gives the device its work asks for the interpreter's lock after each wait; with
# Python's 5 ms it would get it hundreds of times too late beside a thread that writes files.
_SWITCH_INTERVAL_S = 1e-4


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep the host's threads out of the way of the one that gives the device its work.

    Matrix products of NumPy and SciPy take one thread: those of a run are small, and a thread a
    core that waits for the next one, spinning, holds up all others, of other ranks too.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    # what is there now stays: looking through it for garbage stops all threads for 50 ms
    gc.freeze()
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)
