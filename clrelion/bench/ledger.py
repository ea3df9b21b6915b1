"""A device session that counts time, launches, work and memory, iteration by iteration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import numpy.typing as npt
import pyopencl as cl

from clrelion.bench.work import work_of
from clrelion.device.array import Array
from clrelion.device.choice import DeviceInfo
from clrelion.device.kernel import Kernel
from clrelion.device.profile import STEPS, Profile
from clrelion.device.session import DeviceSession
from clrelion.device.transfers import PendingRead

_MAX_PENDING = 4096


@dataclass
class KernelSum:
    """One kernel's launches.

    Attributes
    ----------
    seconds
        Device time.
    launches
        How many.
    flops
        Arithmetic operations, or 0 where they are not counted.
    n_bytes
        Global memory traffic at least needed.
    """

    seconds: float = 0.0
    launches: int = 0
    flops: float = 0.0
    n_bytes: float = 0.0


@dataclass(frozen=True)
class Launch:
    """One kernel on the device.

    Attributes
    ----------
    row
        Row of the time table it belongs to.
    name
        Kernel.
    start, end
        Seconds of the device's clock.
    """

    row: str
    name: str
    start: float
    end: float


@dataclass
class IterationRecord:
    """One iteration, or what comes before the first.

    Attributes
    ----------
    seconds
        Wall time, files included.
    rows
        Seconds of the rows of the time table; others makes up for the rest.
    kernels
        Sums of each kernel.
    launches
        Kernel launches.
    to_device_bytes, to_host_bytes, transfers
        Copies between host and device.
    device_bytes
        Largest amount of device memory held up to the end of the iteration.
    timeline
        Every launch, where kernels are timed.
    """

    seconds: float = 0.0
    rows: dict[str, float] = field(default_factory=dict)
    kernels: dict[str, KernelSum] = field(default_factory=dict)
    launches: int = 0
    to_device_bytes: int = 0
    to_host_bytes: int = 0
    transfers: int = 0
    device_bytes: int = 0
    timeline: list[Launch] = field(default_factory=list)

    @property
    def expectation_seconds(self) -> float:
        """Wall time less maximization and others."""
        return sum(s for row, s in self.rows.items() if row not in ("maximization", "others"))

    def as_dict(self) -> dict[str, Any]:
        """For JSON: all but the single launches."""
        found = {**asdict(self), "expectation_seconds": self.expectation_seconds}
        del found["timeline"]
        return found


class LedgerProfile(Profile):
    """A profile that turns each iteration into a record.

    Parameters
    ----------
    finish, works_ahead
        As of Profile.
    """

    def __init__(self, finish: Callable[[], None], works_ahead: bool = False) -> None:
        super().__init__(finish, works_ahead=works_ahead)
        self.current = IterationRecord()
        self.records: list[IterationRecord] = []
        self._pending_work: list[tuple[str, str, cl.Event | None, float, float]] = []
        self._open_rows: list[str] = ["others"]
        self._began = time.perf_counter()

    @contextmanager
    def timer(self, row: str) -> Iterator[None]:
        """See Profile; launches know their row."""
        self._open_rows.append(row)
        try:
            with super().timer(row):
                yield
        finally:
            self._open_rows.pop()

    def add_launch(self, name: str, event: cl.Event | None, flops: float, n_bytes: float) -> None:
        """Remember a launch; its device time is asked for later."""
        self.current.launches += 1
        self._pending_work.append((self._open_rows[-1], name, event, flops, n_bytes))
        if len(self._pending_work) >= _MAX_PENDING:
            self._collect_work()

    def reset(self) -> None:
        """Close the current record: an iteration begins."""
        self.close()
        super().reset()

    def close(self) -> None:
        """Close the current record and begin the next."""
        self._collect_work()
        record = self.current
        record.seconds = time.perf_counter() - self._began
        record.rows = {row: entry.seconds for row, entry in self.rows.items() if row != "others"}
        record.rows["others"] = max(0.0, record.seconds - sum(record.rows.values()))
        order = [*STEPS[:-2], "set-up", "accuracies", *STEPS[-2:]]
        record.rows = dict(
            sorted(record.rows.items(), key=lambda r: order.index(r[0]) if r[0] in order else 99)
        )
        self.records.append(record)
        self.current = IterationRecord(device_bytes=record.device_bytes)
        self._began = time.perf_counter()

    def _collect_work(self) -> None:
        if not self._pending_work:
            return
        self._finish()
        for row, name, event, flops, n_bytes in self._pending_work:
            entry = self.current.kernels.setdefault(name, KernelSum())
            if event is not None:
                start, end = 1e-9 * event.profile.start, 1e-9 * event.profile.end
                entry.seconds += end - start
                self.current.timeline.append(Launch(row, name, start, end))
            entry.launches += 1
            entry.flops += flops
            entry.n_bytes += n_bytes
        self._pending_work.clear()


class _CountedKernel:
    """A kernel whose launches go into the ledger."""

    def __init__(self, kernel: Kernel, session: LedgerSession) -> None:
        self._kernel = kernel
        self._session = session
        self._names = [argument.parameter.name for argument in kernel.arguments]

    def __call__(
        self, global_size: tuple[int, ...], local_size: tuple[int, ...] | None, *args: Any
    ) -> cl.Event:
        event = self._kernel(global_size, local_size, *args)
        work = work_of(self._kernel.name, dict(zip(self._names, args, strict=True)))
        self._session.note_memory()
        self._session.ledger.add_launch(
            self._kernel.name, event if self._session.times_kernels else None, *work
        )
        return event

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)


class LedgerSession(DeviceSession):
    """A session whose kernels, copies and memory are counted.

    Parameters
    ----------
    device, precision
        As of DeviceSession.
    times_kernels
        Also take the device's own time of each kernel.
    deterministic
        As of DeviceSession.
    """

    def __init__(
        self,
        device: DeviceInfo | str,
        precision: str = "single",
        *,
        times_kernels: bool = True,
        deterministic: bool = False,
    ) -> None:
        super().__init__(device, precision, profiling=times_kernels, deterministic=deterministic)
        self.times_kernels = times_kernels
        self._counted: dict[int, Kernel] = {}
        self.restart()

    def restart(self) -> None:
        """Empty the books."""
        self.ledger = LedgerProfile(self.finish, works_ahead=self.works_ahead)
        self.profile = self.ledger

    def note_memory(self) -> None:
        """Look at the memory that is held now."""
        record = self.ledger.current
        record.device_bytes = max(record.device_bytes, self.held_bytes)

    def kernel(self, name: str, /, *, options: Sequence[str] = (), **params: Any) -> Kernel:
        """See DeviceSession; the kernel's launches are counted."""
        kernel = super().kernel(name, options=options, **params)
        key = id(kernel)
        if key not in self._counted:
            self._counted[key] = cast(Kernel, _CountedKernel(kernel, self))
        return self._counted[key]

    def to_device(
        self, array: npt.ArrayLike, dtype: npt.DTypeLike | None = None, *, lasts: bool = False
    ) -> Array:
        """See DeviceSession; counted."""
        sent = super().to_device(array, dtype, lasts=lasts)
        self.ledger.current.to_device_bytes += sent.nbytes
        self.ledger.current.transfers += 1
        return sent

    def copy_to_device(self, host: npt.NDArray[Any], array: Array) -> None:
        """See DeviceSession; counted."""
        self.ledger.current.to_device_bytes += host.nbytes
        self.ledger.current.transfers += 1
        super().copy_to_device(host, array)

    def to_host_later(self, *arrays: Array) -> PendingRead:
        """See DeviceSession; counted."""
        for array in arrays:
            self.ledger.current.to_host_bytes += array.nbytes
            self.ledger.current.transfers += 1
        return super().to_host_later(*arrays)

    def to_host(self, array: Array) -> npt.NDArray[Any]:
        """See DeviceSession; counted."""
        self.ledger.current.to_host_bytes += array.nbytes
        self.ledger.current.transfers += 1
        return super().to_host(array)
