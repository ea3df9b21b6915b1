"""Arrays in a device's memory: a buffer, and the shape and type of what is in it.

A run makes ten thousand of them a second, so they are no more than that.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyopencl as cl
import pyopencl.array as cl_array

__all__ = ["Array", "checked_shape"]


@dataclass(slots=True, eq=False)
class Array:
    """C-contiguous array from the first byte of its buffer on.

    Made by :meth:`clrelion.device.session.DeviceSession.empty` and its like, which also copy it to
    the host.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    size : int
        Elements.
    nbytes : int
        Their bytes; the buffer may be longer.
    base_data
        The pyopencl buffer, which lives as long as an array of it; None without elements.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int
    nbytes: int
    base_data: Any

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def reshape(self, *shape: int) -> Array:
        """Take the same elements in another shape, of which one axis may be -1: what is left.

        Raises
        ------
        TypeError
            There is another number of elements.
        """
        known = math.prod(n for n in shape if n != -1)
        whole = tuple(self.size // max(known, 1) if n == -1 else n for n in shape)
        if math.prod(whole) != self.size or shape.count(-1) > 1:
            raise TypeError(f"reshape: {self.shape} has not the elements of {shape}")
        return Array(whole, self.dtype, self.size, self.nbytes, self.base_data)

    def view(self, dtype: npt.DTypeLike) -> Array:
        """Take the same bytes as elements of another type; the last axis changes its length.

        Raises
        ------
        TypeError
            The last axis is no whole number of such elements.
        """
        kind = np.dtype(dtype)
        row_bytes = (self.shape[-1] if self.shape else 1) * self.dtype.itemsize
        if row_bytes % kind.itemsize:
            raise TypeError(f"view: {row_bytes} bytes of {self.dtype} are no number of {kind}")
        shape = (*self.shape[:-1], row_bytes // kind.itemsize)
        return Array(shape, kind, self.nbytes // kind.itemsize, self.nbytes, self.base_data)

    def for_library(self, queue: cl.CommandQueue) -> cl_array.Array:
        """Give the same memory as an array of pyopencl, which libraries for it ask for."""
        return cl_array.Array(queue, self.shape, self.dtype, data=self.base_data)


def checked_shape(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """Take NumPy's integers, too, for sizes of axes, and nothing else.

    Raises
    ------
    TypeError, ValueError
        A size is no whole number, or negative.
    """
    try:
        sizes = tuple(operator.index(n) for n in shape)
    except TypeError as error:
        raise TypeError(f"array of shape {shape}: sizes must be whole numbers") from error
    if min(sizes) < 0:
        raise ValueError(f"array of shape {shape}: sizes must not be negative")
    return sizes
