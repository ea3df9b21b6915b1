"""Sums that come to the device one at a time give what sums that stay there give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceMemoryError, NumericalError
from clrelion.maximization import device_sums, volume_steps, waiting_sums
from clrelion.maximization.device_map import DeviceMap
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.sums import BackprojectionSums
from clrelion.maximization.waiting_sums import WaitingSums
from clrelion.orientations.symmetry import PointGroup
from tests.maximization.random_sums import random_sums

GEOMETRY = (1.85, 12, 24)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several pieces, the last one shorter."""
    monkeypatch.setattr(device_sums, "_PIECE_BYTES", 200_000)
    monkeypatch.setattr(waiting_sums, "_PIECE_BYTES", 200_000)


def on_device(session: DeviceSession, sums: BackprojectionSums) -> DeviceSums:
    return DeviceSums.from_host(session, sums)


def waiting(session: DeviceSession, sums: BackprojectionSums) -> WaitingSums:
    values = session.to_host(on_device(session, sums).values)[0]
    return WaitingSums(session, values, *GEOMETRY)


def pair(session: DeviceSession) -> tuple[list[DeviceSums], list[WaitingSums]]:
    """Give two half-sets that correlate."""
    first = random_sums(*GEOMETRY, 1)
    host = [first, random_sums(*GEOMETRY, 2, like=first)]
    return [on_device(session, v) for v in host], [waiting(session, v) for v in host]


def assert_same(found: WaitingSums, expected: DeviceSums) -> None:
    one, two = found.to_host(), expected.to_host()
    np.testing.assert_array_equal(one.data, two.data)
    np.testing.assert_array_equal(one.weight, two.weight)


@pytest.mark.parametrize("symmetry", ["C1", "C3", "C4", "D2", "O", "I1"])
def test_repair_and_symmetry(session: DeviceSession, symmetry: str) -> None:
    [expected, _], [found, _] = pair(session)
    operators = PointGroup.from_name(symmetry).operators
    for volume in (expected, found):
        volume.hermitian_repair()
        volume.symmetrise(operators)
    assert_same(found, expected)


@pytest.mark.parametrize("shell", [-1, 0, 5, 12])
def test_joining(session: DeviceSession, shell: int) -> None:
    expected, found = pair(session)
    volume_steps.join_low_resolution(expected[0], expected[1], shell)
    volume_steps.join_low_resolution(found[0], found[1], shell)
    for one, two in zip(found, expected, strict=True):
        assert_same(one, two)


def test_joining_beyond_the_data(session: DeviceSession) -> None:
    _, found = pair(session)
    with pytest.raises(NumericalError, match="reaches shell 13"):
        volume_steps.join_low_resolution(found[0], found[1], 13)


def test_fsc_whichever_is_there(session: DeviceSession) -> None:
    expected, found = pair(session)
    fsc = volume_steps.half_set_fsc(*expected)
    assert 0.3 < fsc[12] < 0.95
    np.testing.assert_allclose(volume_steps.half_set_fsc(*found), fsc, rtol=1e-12)
    np.testing.assert_allclose(volume_steps.half_set_fsc(*found), fsc, rtol=1e-12)


def test_a_volume_that_has_changed_comes_back(session: DeviceSession) -> None:
    """Added on the device, evicted by another one, brought back."""
    expected, found = pair(session)
    volume_steps.add(expected[0], expected[1])
    volume_steps.add(found[0], found[1])
    assert found[1].shell_weights().counts.sum() > 0  # takes the place
    assert_same(found[0], expected[0])


def test_only_one_is_on_the_device(session: DeviceSession) -> None:
    _, found = pair(session)
    before = session.allocated_bytes
    for volume in found:
        volume.is_empty()
    volume_bytes = found[0].values.nbytes
    assert volume_bytes <= session.allocated_bytes - before < 1.5 * volume_bytes
    del volume
    found.clear()
    assert session.allocated_bytes == before


def test_weights_and_reconstruction(session: DeviceSession) -> None:
    [expected, _], [found, _] = pair(session)
    one, two = found.shell_weights(), expected.shell_weights()
    np.testing.assert_array_equal(one.sums, two.sums)
    np.testing.assert_array_equal(one.square_sums, two.square_sums)
    limits = np.full(13, 2.0)
    np.testing.assert_array_equal(found.start_count(limits)(), expected.start_count(limits)())
    assert not found.is_empty()
    tau2 = np.full(13, 0.1)
    maps = [volume_steps.reconstruct(volume, tau2) for volume in (found, expected)]
    assert all(isinstance(m, DeviceMap) for m in maps)
    one_map, other_map = (volume_steps.to_host(m) for m in maps)
    np.testing.assert_array_equal(one_map, other_map)


def test_wrong_shapes_and_places(session: DeviceSession) -> None:
    expected, found = pair(session)
    with pytest.raises(ValueError, match="need the shape"):
        WaitingSums(session, found[0].values[1:], *GEOMETRY)
    with pytest.raises(TypeError, match="different places"):
        volume_steps.half_set_fsc(found[0], expected[1])


@pytest.mark.parametrize("symmetry", ["C3", "C4", "O"])
def test_symmetry_without_room_for_a_second_volume(
    session: DeviceSession,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    symmetry: str,
) -> None:
    [expected, found], _ = pair(session)
    found.add(expected)
    expected.add(on_device(session, random_sums(*GEOMETRY, 2, like=random_sums(*GEOMETRY, 1))))
    operators = PointGroup.from_name(symmetry).operators
    expected.symmetrise(operators)
    empty = session.empty

    def full(shape: Any, dtype: Any) -> Any:
        if np.prod(shape) == np.prod(found.shape) * 4:
            raise DeviceMemoryError("full")
        return empty(shape, dtype)

    monkeypatch.setattr(session, "empty", full)
    found.symmetrise(operators)
    monkeypatch.undo()
    assert "going on with the symmetrisation through the host" in caplog.text
    one, two = found.to_host(), expected.to_host()
    np.testing.assert_array_equal(one.data, two.data)


def test_reconstruction_without_room(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on on the host, in double precision."""
    for volume in (pair(session)[0][0], pair(session)[1][0]):
        tau2 = np.full(13, 0.1)
        expected = volume_steps.to_host(volume_steps.reconstruct(volume, tau2))

        def full(*_: Any, **__: Any) -> Any:
            raise DeviceMemoryError("full")

        monkeypatch.setattr(volume_steps, "reconstruct_on_device", full)
        found = volume_steps.reconstruct(volume, tau2)
        monkeypatch.undo()
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert caplog.text.count("going on with the reconstruction on the host") == 2
