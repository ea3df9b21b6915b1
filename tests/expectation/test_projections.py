"""Slices from the references as they lie and from their copy in bricks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceMemoryError
from clrelion.expectation.optics_setup import OpticsSetup
from clrelion.expectation.projections import Projector, SliceRows, places_in_references
from clrelion.planning.volumes import VolumeSizes
from tests.expectation.small_run import SmallRun, small_run

N_ROWS = 37


@pytest.fixture(params=["single", "double"])
def card(session: DeviceSession, request: pytest.FixtureRequest) -> DeviceSession:
    """Another session on the device of ``session``, with the kernels of graphics cards."""
    if request.param == "double":
        request.getfixturevalue("session_double")
    other = DeviceSession(session.info, request.param)
    other.is_cpu = False
    return other


def slices(
    session: DeviceSession, run: SmallRun, projector: Projector, n_rows: int = N_ROWS
) -> NDArray[Any]:
    """Slices of random orientations of all classes."""
    rng = np.random.default_rng(5)
    pixels = OpticsSetup(session, run.settings, 0, 2.0).pixels
    angle = rng.uniform(0, 2 * np.pi, 7)
    rows, _ = np.linalg.qr(rng.standard_normal((11, 3, 3)))
    return session.to_host(
        projector.rows(
            session.to_device(rows[:, :2].reshape(-1, 6), session.real),
            session.to_device(np.stack([np.cos(angle), np.sin(angle)], axis=1), session.real),
            SliceRows.upload(session, *(rng.integers(0, n, n_rows) for n in (2, 11, 7))),
            pixels,
            places_in_references(session, pixels),
        )
    )


def brick_bytes(session: DeviceSession, run: SmallRun) -> int:
    """Count the bytes as the memory plan does."""
    settings = run.settings
    sizes = VolumeSizes(settings.ori_size, settings.padding_factor, settings.r_max, 2, 1)
    return sizes.bytes_in_bricks(np.dtype(session.real).itemsize)


def test_equal_to_the_bit(card: DeviceSession) -> None:
    run = small_run()
    plain, bricks = (Projector(card, run.settings.references, None, b) for b in (False, True))
    expected = slices(card, run, plain)
    np.testing.assert_array_equal(slices(card, run, bricks), expected)
    assert np.count_nonzero(expected) > expected.size // 2
    assert bricks._bricks is not None
    assert plain._bricks is None


def test_the_copy_is_made_when_it_is_used(card: DeviceSession) -> None:
    """With as many bytes as the plan counts, and once."""
    run = small_run()
    projector = Projector(card, run.settings.references, has_bricks=True)
    before = card.allocated_bytes
    slices(card, run, projector, 0)
    assert card.allocated_bytes == before
    slices(card, run, projector)
    taken = card.allocated_bytes - before
    slices(card, run, projector)
    assert card.allocated_bytes - before == taken
    assert projector._bricks is not None
    # the pool rounds sizes up
    assert projector._bricks._values.nbytes == brick_bytes(card, run) <= taken


def test_no_copy_on_cpus_and_of_tiles(session: DeviceSession, card: DeviceSession) -> None:
    run = small_run()
    references = run.settings.references
    for device, planes in ((session, None), (card, 5)):
        if planes is None and not device.is_cpu:
            continue
        projector = Projector(device, references, planes, has_bricks=True)
        slices(device, run, projector)
        assert projector._bricks is None


def test_memory_that_is_not_there(
    card: DeviceSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The same slices, and no second attempt."""
    run = small_run()
    expected = slices(card, run, Projector(card, run.settings.references))
    projector = Projector(card, run.settings.references, has_bricks=True)
    given = card.empty

    def empty(shape: Any, dtype: Any) -> Any:
        if np.prod(shape) * np.dtype(dtype).itemsize == brick_bytes(card, run):
            raise DeviceMemoryError("no memory left")
        return given(shape, dtype)

    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr(card, "empty", empty)
            found = slices(card, run, projector)
        np.testing.assert_array_equal(found, expected)
    assert len(caplog.messages) == 1
    assert "without a copy of the references in bricks" in caplog.messages[0]
