"""Sums on the device against those on the host: symmetry, joining, FSC, spectra."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.device.session import DeviceSession
from clrelion.errors import NumericalError
from clrelion.maximization import half_maps, sums, volume_steps
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.spectra import (
    ReconstructionSpectra,
    classification_spectra,
    gold_standard_spectra,
)
from clrelion.maximization.sums import BackprojectionSums
from clrelion.orientations.symmetry import PointGroup
from tests.maximization.random_sums import both, random_sums

# padding, R, N
GEOMETRIES = [(1.0, 8, 24), (1.85, 12, 24), (2.0, 22, 44), (2.0, 9, 44), (1.0, 32, 64)]
GROUPS = ["C1", "C3", "C4", "D2", "D7", "T", "O", "I1"]


def relative(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / (np.linalg.norm(expected) or 1.0))


def tolerance(session: DeviceSession) -> float:
    return 1e-6 if session.precision == "single" else 1e-13


def prepared(volume: BackprojectionSums | DeviceSums, symmetry: str) -> None:
    volume.hermitian_repair()
    volume.symmetrise(PointGroup.from_name(symmetry).operators)


def check_symmetry(session: DeviceSession, symmetry: str) -> None:
    host, device = both(session, 1.85, 12, 24)
    prepared(host, symmetry)
    prepared(device, symmetry)
    found = device.to_host()
    assert relative(found.data, host.data) < tolerance(session)
    assert relative(found.weight, host.weight) < tolerance(session)


@pytest.mark.parametrize("symmetry", GROUPS)
def test_symmetry(session: DeviceSession, symmetry: str) -> None:
    check_symmetry(session, symmetry)


@pytest.mark.parametrize("symmetry", ["C4", "I1"])
def test_symmetry_in_double_precision(session_double: DeviceSession, symmetry: str) -> None:
    check_symmetry(session_double, symmetry)


def pair(
    session: DeviceSession, geometry: tuple[float, int, int]
) -> tuple[list[BackprojectionSums], list[DeviceSums]]:
    """Give two half-sets that correlate, on the host and on the device."""
    first = random_sums(*geometry, 1)
    host = [first, random_sums(*geometry, 2, like=first)]
    device = [DeviceSums.from_host(session, volume) for volume in host]
    for one, two in zip(host, device, strict=True):
        prepared(one, "C2")
        prepared(two, "C2")
    return host, device


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_joining_and_fsc(session: DeviceSession, geometry: tuple[float, int, int]) -> None:
    host, device = pair(session, geometry)
    expected = half_maps.half_set_fsc(*host)
    np.testing.assert_allclose(volume_steps.half_set_fsc(*device), expected, atol=1e-6)
    assert 0.3 < expected[geometry[1]] < 0.95
    sums.join_low_resolution(host[0], host[1], 3)
    volume_steps.join_low_resolution(device[0], device[1], 3)
    for one, two in zip(host, device, strict=True):
        found = two.to_host()
        assert relative(found.data, one.data) < tolerance(session)
        assert relative(found.weight, one.weight) < tolerance(session)
    expected = half_maps.half_set_fsc(*host)
    np.testing.assert_allclose(volume_steps.half_set_fsc(*device), expected, atol=1e-6)
    np.testing.assert_allclose(expected[:3], 1.0)


def assert_same_spectra(found: ReconstructionSpectra, expected: ReconstructionSpectra) -> None:
    for field in fields(expected):
        one, two = getattr(found, field.name), getattr(expected, field.name)
        np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-30, err_msg=field.name)


def prior(n: int) -> NDArray[np.float64]:
    """Signal power with one shell without any, about as large as the noise."""
    tau2 = np.linspace(3.0, 0.05, n // 2 + 1)
    tau2[7] = 0
    return tau2


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_spectra(session: DeviceSession, geometry: tuple[float, int, int]) -> None:
    n = geometry[2]
    host, device = both(session, *geometry)
    fsc = np.linspace(1.0, -0.1, n // 2 + 1)
    expected = gold_standard_spectra(host, fsc, 1.3).result()
    assert_same_spectra(gold_standard_spectra(device, fsc, 1.3).result(), expected)
    expected = classification_spectra(host, prior(n), 1.3).result()
    assert_same_spectra(classification_spectra(device, prior(n), 1.3).result(), expected)
    assert np.ptp(expected.fourier_coverage[: geometry[1]]) > 0.1


def test_devices_without_double_precision(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums are made in pairs of floats there."""
    without = replace(session.capabilities, fp64=False)
    monkeypatch.setattr(session, "capabilities", without)
    host, device = both(session, 2.0, 12, 24)
    found, expected = device.shell_weights(), host.shell_weights()
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_allclose(found.sums, expected.sums, rtol=1e-12)
    np.testing.assert_allclose(found.square_sums, expected.square_sums, rtol=1e-6)
    np.testing.assert_allclose(device.fsc(device)[:13], 1.0, atol=1e-6)


def test_sums_of_weights_follow_changes(session: DeviceSession) -> None:
    """They are kept, but not beyond a change of the volume."""
    host, device = both(session, 2.0, 6, 16)
    other, other_d = both(session, 2.0, 6, 16, 1)
    changes: list[tuple[Any, Any]] = [
        (lambda: host.add(other), lambda: volume_steps.add(device, other_d)),
        (host.hermitian_repair, device.hermitian_repair),
        (lambda: prepared(host, "C3"), lambda: prepared(device, "C3")),
        (
            lambda: sums.join_low_resolution(host, other, 6),
            lambda: volume_steps.join_low_resolution(device, other_d, 6),
        ),
    ]
    before = device.shell_weights().sums
    for on_host, on_device in changes:
        on_host()
        on_device()
        found = device.shell_weights().sums
        np.testing.assert_allclose(found, host.shell_weights().sums, rtol=1e-6)
        assert np.abs(found - before).max() > 1e-3
        before = found
    expected = other.shell_weights().sums
    np.testing.assert_allclose(other_d.shell_weights().sums, expected, rtol=1e-6)


def test_empty_sums(session: DeviceSession) -> None:
    host = BackprojectionSums.zeros(2.0, 6, 16)
    assert DeviceSums.from_host(session, host).is_empty()
    host.weight[0, 0, 0] = 1e-3  # beyond the radius, but there
    assert not host.is_empty()
    assert not DeviceSums.from_host(session, host).is_empty()


def test_only_its_own_volume_changes(session: DeviceSession) -> None:
    host = [random_sums(2.0, 5, 16, seed) for seed in range(3)]
    volumes = [DeviceSums.from_host(session, volume).values for volume in host]
    stack = session.to_device(np.concatenate([session.to_host(v) for v in volumes]))
    middle = DeviceSums(session, stack, 1, 2.0, 5, 16)
    prepared(middle, "I1")
    prepared(host[1], "I1")
    for place in range(3):
        found = DeviceSums(session, stack, place, 2.0, 5, 16).to_host()
        assert relative(found.data, host[place].data) < tolerance(session)


def test_wrong_use(session: DeviceSession) -> None:
    host, device = both(session, 2.0, 6, 16)
    other = DeviceSums.from_host(session, random_sums(2.0, 5, 16))
    with pytest.raises(ValueError, match="differ in"):
        device.add(other)
    with pytest.raises(ValueError, match="differ in"):
        device.fsc(other)
    with pytest.raises(ValueError, match="need the shape"):
        DeviceSums(session, device.values, 1, 2.0, 6, 16)
    with pytest.raises(NumericalError, match="reaches shell 7"):
        volume_steps.join_low_resolution(device, DeviceSums.from_host(session, host), 7)
    with pytest.raises(TypeError, match="different places"):
        volume_steps.half_set_fsc(device, host)
