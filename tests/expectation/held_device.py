"""A device that does nothing for a while, to see what waits for it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyopencl as cl

from clrelion.device.session import DeviceSession

_Found = TypeVar("_Found")


def card_on(session: DeviceSession) -> DeviceSession:
    """Open a session that takes its device for a graphics card."""
    card = DeviceSession(session.info, session.precision, works_ahead=True)
    card.is_cpu = False
    card._transfers._waits_for_uploads = False
    return card


def while_held(card: DeviceSession, work: Callable[[], _Found]) -> _Found:
    """Give the device work that it cannot begin with; fails if anyone waits for it meanwhile."""
    gate = cl.UserEvent(card.context)
    cl.enqueue_marker(card.queue, wait_for=[gate])
    with ThreadPoolExecutor(1) as worker:
        try:
            return worker.submit(work).result(timeout=20)
        finally:
            gate.set_status(cl.command_execution_status.COMPLETE)
