"""Prefix sums of integers over a whole device array: where the entries of a list begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["prefix_sums"]

_GROUP = 256
_GPU_CHUNK = 8 * _GROUP
_CPU_CHUNK = 65536


def prefix_sums(session: DeviceSession, values: Array, n: int) -> Array:
    """Sum everything before each element.

    Parameters
    ----------
    values
        int32 device array of at least ``n`` elements; their sum is below 2^31.
    n
        How many count.

    Returns
    -------
    Array
        int32, (n + 1,); element i is the sum of the first i values.

    Raises
    ------
    DeviceMemoryError
        The sums do not fit.
    """
    wg, chunk = (1, _CPU_CHUNK) if session.is_cpu else (_GROUP, _GPU_CHUNK)
    out = session.empty(n + 1, np.int32)
    n_chunks = max(1, -(-n // chunk))
    launch = ((n_chunks * wg,), (wg,))
    starts = None
    if n_chunks > 1:
        sums = session.empty(n_chunks, np.int32)
        session.kernel("device/sum_chunks", wg=wg)(*launch, values, n, chunk, sums)
        starts = prefix_sums(session, sums, n_chunks)
    session.kernel("device/prefix_chunks", wg=wg)(*launch, values, starts, n, chunk, out)
    return out
