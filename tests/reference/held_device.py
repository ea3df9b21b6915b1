"""A device that does nothing new for a while, to see what waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pyopencl as cl

from clrelion.device.session import DeviceSession

_Found = TypeVar("_Found")

_SECONDS = 0.7
_SPIN = """
__kernel void spin(ulong n, __global ulong* out) {
    ulong x = out[0];
    for (ulong i = 0; i < n; ++i) x = x * 6364136223846793005UL + 1442695040888963407UL;
    out[0] = x;
}
"""


def card_on(session: DeviceSession) -> DeviceSession:
    """Open a session that takes its device for a graphics card."""
    card = DeviceSession(session.info, session.precision, works_ahead=True)
    card.is_cpu = False
    card._transfers._waits_for_uploads = False
    return card


@contextmanager
def held(session: DeviceSession) -> Iterator[None]:
    """Keep the device from whatever it is given; fails if it was waited for meanwhile."""
    device = session.queue.device
    if device.type & cl.device_type.CPU:
        # without end: whoever waits, waits for ever
        gate = cl.UserEvent(session.context)
        cl.enqueue_marker(session.queue, wait_for=[gate])
        try:
            yield
        finally:
            gate.set_status(cl.command_execution_status.COMPLETE)
        return
    # NVIDIA's driver crashes now and then where a user event holds a queue (580.159, 2026-11-23)
    kernel, out = _spinning(session.context)
    session.queue.finish()
    start = time.perf_counter()
    n = 10**5
    while (took := time.perf_counter() - start) < 0.02:
        n *= 4
        start = time.perf_counter()
        kernel(session.queue, (1,), (1,), n, out)
        session.queue.finish()
    event = kernel(session.queue, (1,), (1,), int(n * _SECONDS / took), out)
    session.queue.flush()
    yield
    assert event.command_execution_status != cl.command_execution_status.COMPLETE
    session.queue.finish()


def _spinning(context: cl.Context) -> tuple[cl.Kernel, cl.Buffer]:
    kernel = cl.Kernel(cl.Program(context, _SPIN).build(), "spin")
    kernel.set_scalar_arg_dtypes(["u8", None])
    return kernel, cl.Buffer(context, cl.mem_flags.READ_WRITE, 8)


def while_held(card: DeviceSession, work: Callable[[], _Found]) -> _Found:
    """Work while the device is held; fails if it waits for the device."""
    with ThreadPoolExecutor(1) as worker, held(card):
        return worker.submit(work).result(timeout=20)
