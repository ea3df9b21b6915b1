"""One device, its queue, its kernels and its memory: what the numerical rooms work with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyopencl as cl

from clrelion.device import capabilities as capability_probes
from clrelion.device.array import Array, checked_shape
from clrelion.device.buffer_pool import BufferPool
from clrelion.device.choice import DeviceInfo, choose_device
from clrelion.device.kernel import Kernel
from clrelion.device.large_copies import copy_on_device
from clrelion.device.memory import (
    MemoryBudget,
    raise_if_out_of_memory,
    translated_allocation_errors,
)
from clrelion.device.memory_info import device_budget
from clrelion.device.pinned import pinned
from clrelion.device.profile import Profile
from clrelion.device.staging import Staging
from clrelion.device.templates import render, render_source, template_path
from clrelion.device.transfers import PendingRead, Transfers
from clrelion.errors import DeviceError, OptionsError

_LARGEST_FILL_BYTES = 2**30
_ZERO_WORD, _ZERO_BYTE = np.uint32(0), np.uint8(0)
_GROUP = 64


class DeviceSession:
    """A context and an in-order queue on one device, in one precision.

    Parameters
    ----------
    device : DeviceInfo or str
        From :func:`clrelion.device.choice.choose_device`, or a specification for it.
    precision : str
        ``single`` or ``double``: what ``real`` means in the kernels.
    profiling : bool
        Time each kernel by device events (``profile.kernels``).
    deterministic : bool
        Nothing that decides about a result may depend on scheduling, on measured times or on the
        memory that happens to be free: sums are of whole numbers, transforms and memory budget are
        fixed choices.
    works_ahead : bool or None
        The host gives the device its next work before it has the answers to what went before; None:
        where the device is not the host itself.

    Attributes
    ----------
    info : DeviceInfo
    device, context, queue
        The pyopencl objects.
    capabilities : Capabilities
        Probed facts.
    real, complex : type
        NumPy scalar types of the precision.
    profile : Profile
        Times by step.
    peak_bytes : int
        Most bytes of arrays alive at a time so far.
    kept : dict
        What is made once and serves all iterations, by kind and size: plans of transforms, masks.
    is_cpu : bool
    n_compute_units : int

    Raises
    ------
    DeviceError
        The device is unusable, or has no double precision and it is asked for.
    """

    def __init__(
        self,
        device: DeviceInfo | str = "auto",
        precision: str = "single",
        *,
        profiling: bool = False,
        deterministic: bool = False,
        works_ahead: bool | None = None,
    ) -> None:
        if precision not in ("single", "double"):
            raise OptionsError(f"precision '{precision}': choose single or double")
        self.info = choose_device(device) if isinstance(device, str) else device
        self.precision = precision
        self.deterministic = deterministic
        self.device: cl.Device = self.info.handle
        self.is_cpu = self.info.kind == "cpu"
        self.works_ahead = not self.is_cpu if works_ahead is None else works_ahead
        # Any: pyopencl's stub knows no value for "no property", which is 0 at run time
        properties: Any = 0
        if profiling or self.works_ahead:
            properties = cl.command_queue_properties.PROFILING_ENABLE
        try:
            self.context = cl.Context([self.device])
            self.queue = cl.CommandQueue(self.context, self.device, properties=properties)
        except cl.Error as error:
            raise DeviceError(
                f"device {self.info.label}: no context ({error}); run `clrelion devices`"
            ) from error
        self.capabilities = capability_probes.probe(self.device, self.context)
        self._check_precision()
        integer_atomics = capability_probes.integer_atomics_path
        self._integer_atomics = (
            integer_atomics(self.device, self.context) if deterministic else "none"
        )
        is_double = precision == "double"
        self.real: type[np.float32] | type[np.float64] = np.float64 if is_double else np.float32
        self.complex: type[np.complex64] | type[np.complex128] = (
            np.complex128 if is_double else np.complex64
        )
        self.n_compute_units = self.info.n_compute_units
        self.profile = Profile(self.finish, profiling, self.works_ahead)
        self._transfers = Transfers(self.queue, waits_for_uploads=self.is_cpu)
        self._pool = BufferPool(self.queue, lambda: self.memory_budget().bytes)
        self._staging: Staging | None = None
        self._kernels: dict[tuple[Any, ...], Kernel] = {}
        self.kept: dict[tuple[Any, ...], Any] = {}

    def _check_precision(self) -> None:
        if self.precision == "double" and self.capabilities.double_atomics == "none":
            raise DeviceError(
                f"device {self.info.label} has no double precision with atomics; "
                "use --precision single or another --device"
            )

    @property
    def template_params(self) -> dict[str, Any]:
        """Parameters that every template gets; ``kernel(..., name=value)`` overrides them."""
        return {
            "real": "double" if self.precision == "double" else "float",
            "double_precision": self.precision == "double",
            "float_atomics": self.capabilities.atomics_path(self.precision),
            "integer_atomics": self._integer_atomics,
            "tensor": self.capabilities.tensor if self.precision == "single" else "none",
            "is_cpu": self.is_cpu,
            "tiled": False,
            "fixed_point": False,
        }

    def kernel(self, name: str, /, *, options: Sequence[str] = (), **params: Any) -> Kernel:
        """Kernel of the template ``clrelion/cl/<name>.cl.mako``, built once per parameters.

        Parameters
        ----------
        name : str
            E.g. ``expectation/project``; the ``__kernel`` has the file's stem as its name.
        options : sequence of str
            Further build options, e.g. ``-cl-fast-relaxed-math``.
        **params
            Template parameters, hashable.

        Raises
        ------
        KernelBuildError
        """
        key = (name, tuple(options), tuple(sorted(params.items())))
        kernel = self._kernels.get(key)
        if kernel is None:
            source = render(name, {**self.template_params, **params})
            label = str(template_path(name))
            stem = name.rsplit("/", 1)[-1]
            kernel = Kernel(self, stem, source, label=label, options=options)
            self._kernels[key] = kernel
        return kernel

    def kernel_from_source(
        self, kernel_name: str, source: str, /, *, options: Sequence[str] = (), **params: Any
    ) -> Kernel:
        """Kernel of template text that is no file of the package (tests of device functions)."""
        rendered = render_source(kernel_name, source, {**self.template_params, **params})
        return Kernel(self, kernel_name, rendered, label=kernel_name, options=options)

    def empty(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Allocate a device array, content undefined.

        Raises
        ------
        DeviceMemoryError
        """
        kind = np.dtype(dtype)
        sizes = shape if isinstance(shape, tuple) else (shape,)
        size = math.prod(sizes)
        if type(size) is not int or (sizes and min(sizes) < 0):
            sizes = checked_shape(sizes)
            size = math.prod(sizes)
        n_bytes = size * kind.itemsize
        try:
            buffer = self._pool.allocate(n_bytes) if n_bytes else None
        except cl.Error as error:
            raise_if_out_of_memory(f"array of {shape} {kind}", error)
            raise
        return Array(sizes, kind, size, n_bytes, buffer)

    def zeros(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Allocate a device array of zeros.

        Raises
        ------
        DeviceMemoryError
        """
        array = self.empty(shape, dtype)
        self.fill_zero(array)
        return array

    def fill_zero(self, array: Array) -> None:
        """Set all bytes of a device array to zero."""
        if not array.nbytes:
            return
        with translated_allocation_errors("fill"):
            if array.nbytes > _LARGEST_FILL_BYTES and array.nbytes % 16 == 0:
                n = array.nbytes // 16
                words = array.view(np.uint32)
                self.kernel("device/clear_array")((-(-n // _GROUP) * _GROUP,), (_GROUP,), words, n)
                return
            zero = _ZERO_WORD if array.nbytes % 4 == 0 else _ZERO_BYTE
            cl.enqueue_fill(self.queue, array.base_data, zero, array.nbytes)

    def to_device(
        self, array: npt.ArrayLike, dtype: npt.DTypeLike | None = None, *, lasts: bool = False
    ) -> Array:
        """Copy a host array (C order, optionally converted to ``dtype``) to a new device array.

        If it ``lasts`` unchanged until the copy is made, nobody waits for that, whatever its size.

        Raises
        ------
        DeviceMemoryError
        """
        host = np.asarray(array, dtype=dtype, order="C")
        result = self.empty(host.shape, host.dtype)
        if result.nbytes:
            # where it has been converted, nobody else knows the host's array
            is_own = type(array) is np.ndarray and host is not array and host.base is None
            self._transfers.write(result.base_data, 0, host, is_own, lasts)
        return result

    def copy_to_device(self, host: npt.NDArray[Any], array: Array) -> None:
        """Overwrite the beginning of a device array; returns when the host array is free again.

        Raises
        ------
        TypeError
            dtypes differ, or the host array is longer or not contiguous.
        """
        if host.dtype != array.dtype or host.nbytes > array.nbytes or not host.flags.c_contiguous:
            raise TypeError(
                f"copy to the device: C-contiguous {array.dtype} of at most {array.shape} needed, "
                f"{host.dtype} {host.shape} given"
            )
        if host.nbytes:
            self._transfers.write(array.base_data, 0, host)

    def write_rows_beside(
        self, array: Array, first: int, rows: npt.NDArray[Any]
    ) -> None:
        """Copy host rows to rows ``first`` ... of a device array on another queue; waits for it.

        For other threads than that of the kernels, which must not use these rows meanwhile.

        Raises
        ------
        DeviceMemoryError
        """
        host = np.ascontiguousarray(rows, dtype=array.dtype)
        row_bytes = array.nbytes // max(1, array.shape[0])
        if host.nbytes:
            self._transfers.write_beside(array.base_data, first * row_bytes, host)

    def staging(self, n_bytes: int) -> Staging:
        """Host memory that copies to the device start from; the same one as long as it is enough.

        Parameters
        ----------
        n_bytes : int
            Of one of its buffers, at least.
        """
        if self._staging is None or self._staging.n_bytes < n_bytes:
            self._staging = Staging(lambda memory: pinned(self, memory), n_bytes)
        return self._staging

    def to_host(self, array: Array) -> npt.NDArray[Any]:
        """Copy a device array to a new host array; waits for the queue."""
        return self._transfers.read_new(array.base_data, 0, array.shape, array.dtype)

    def to_host_later(self, *arrays: Array) -> PendingRead:
        """Copy device arrays to new host arrays when what has been enqueued so far is done.

        Where the host does not work ahead the copies are made at once.
        """
        return self._transfers.read_later(
            [(a.base_data, 0, a.shape, a.dtype) for a in arrays], self.works_ahead
        )

    def read_int(self, array: Array, index: int) -> int:
        """Copy one element of an int32 device array to the host; waits for the queue."""
        return int(self._transfers.read_new(array.base_data, 4 * index, (1,), np.int32)[0])

    def copy_rows(self, array: Array, first: int, last: int) -> Array:
        """Copy rows first .. last - 1 of a device array to a new device array.

        Raises
        ------
        DeviceMemoryError
        """
        result = self.empty((last - first, *array.shape[1:]), array.dtype)
        row_bytes = array.nbytes // max(1, array.shape[0])
        if result.nbytes:
            with translated_allocation_errors("copy on the device"):
                copy_on_device(
                    self.queue, result.base_data, array.base_data, first * row_bytes, result.nbytes
                )
        return result

    def write_rows(self, array: Array, first: int, rows: npt.NDArray[Any]) -> None:
        """Copy host rows (C order) to rows ``first`` ... of a device array of the same type.

        Raises
        ------
        DeviceMemoryError
        """
        host = np.ascontiguousarray(rows, dtype=array.dtype)
        row_bytes = array.nbytes // max(1, array.shape[0])
        if host.nbytes:
            self._transfers.write(array.base_data, first * row_bytes, host)

    def read_rows(self, array: Array, first: int, rows: npt.NDArray[Any]) -> None:
        """Fill ``rows`` (C order) from rows ``first`` ... of a device array of the same type."""
        row_bytes = array.nbytes // max(1, array.shape[0])
        if rows.nbytes:
            self._transfers.read(array.base_data, first * row_bytes, rows)

    def finish(self) -> None:
        """Wait until all enqueued work is done."""
        with translated_allocation_errors("queue"):
            self.queue.finish()

    @property
    def allocated_bytes(self) -> int:
        """Bytes of the arrays now alive."""
        return self._pool.alive_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes taken from the device: arrays alive and freed blocks kept for reuse."""
        return self._pool.held_bytes

    @property
    def peak_bytes(self) -> int:
        """Most bytes of arrays alive at a time so far."""
        return self._pool.peak_bytes

    @peak_bytes.setter
    def peak_bytes(self, n_bytes: int) -> None:
        self._pool.peak_bytes = n_bytes

    @property
    def room_bytes(self) -> int:
        """Bytes that the memory budget leaves beside the arrays now alive."""
        return max(0, self._pool.limit_bytes - self._pool.alive_bytes)

    def release_unused(self) -> None:
        """Give freed blocks back to the driver."""
        self._pool.release_unused()

    def close(self) -> None:
        """Give back what is kept for further work; arrays still in use go with their last user."""
        self._kernels.clear()
        self.kept.clear()
        self.release_unused()

    def memory_budget(self, limit_bytes: int | None = None) -> MemoryBudget:
        """How much this session may allocate in all, what it holds now included.

        Parameters
        ----------
        limit_bytes : int, optional
            The user's limit.
        """
        budget = device_budget(
            self.info, self.is_cpu, self.deterministic, self.held_bytes, limit_bytes
        )
        self._pool.limit_bytes = budget.bytes
        return budget
