"""Maps made on the device against those of the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from clrelion.errors import NumericalError
from clrelion.fourier.filters import low_pass_map
from clrelion.maximization import volume_steps
from clrelion.maximization.device_map import DeviceMap
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.reconstruct import reconstruct
from clrelion.maximization.solvent import SolventMasks, flatten_solvent, spherical_solvent_mask
from tests.maximization.random_sums import both, random_sums

# padding, R, N
GEOMETRIES = [
    (1.0, 12, 24), (1.85, 8, 24), (2.0, 12, 24), (1.85, 13, 26), (2.0, 22, 44), (2.0, 9, 44),
    (1.0, 32, 64), (1.0, 50, 100), (1.85, 20, 100),
]  # fmt: skip
PIXEL = 1.5


def relative(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def tolerance(session: DeviceSession) -> float:
    return 2e-6 if session.precision == "single" else 1e-12


def check(session: DeviceSession, geometry: tuple[float, int, int]) -> None:
    host, device = both(session, *geometry)
    for volume in (host, device):
        volume.hermitian_repair()
    tau2 = np.linspace(3.0, 0.05, geometry[2] // 2 + 1)
    tau2[7] = 0
    for prior in (tau2, None):
        expected = reconstruct(host, prior, 1.3)
        found = volume_steps.reconstruct(device, prior, 1.3)
        assert isinstance(found, DeviceMap)
        assert found.to_host().dtype == session.real
        assert relative(found.to_host(), expected) < tolerance(session)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_maps(session: DeviceSession, geometry: tuple[float, int, int]) -> None:
    check(session, geometry)


@pytest.mark.parametrize("geometry", [(1.85, 13, 26), (2.0, 9, 44)], ids=str)
def test_maps_in_double_precision(
    session_double: DeviceSession, geometry: tuple[float, int, int]
) -> None:
    check(session_double, geometry)


def test_priors_may_be_anything(session: DeviceSession) -> None:
    """Signal far below the range of single precision, and no weight at all in a shell."""
    host = random_sums(2.0, 12, 24)
    host.weight[:, :, 6:9] = 0
    device = DeviceSums.from_host(session, host)
    tau2 = np.full(13, 1e-60)
    tau2[6:] = 0
    expected = reconstruct(host, tau2)
    assert relative(volume_steps.to_host(volume_steps.reconstruct(device, tau2)), expected) < 2e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_numbers_are_found(session: DeviceSession, bad: float) -> None:
    host = random_sums(2.0, 6, 16)
    host.data[5, 6, 2] = bad
    with pytest.raises(NumericalError, match="NaN or infinity"):
        volume_steps.reconstruct(DeviceSums.from_host(session, host), None)


@pytest.mark.parametrize("resolution", [15.0, 7.0, 3.2])
def test_low_pass(session: DeviceSession, resolution: float) -> None:
    """The last one passes corners beyond Nyquist: the host does it."""
    volume = np.random.default_rng(0).standard_normal((26, 26, 26)).astype(session.real)
    found = volume_steps.low_pass(DeviceMap(session, session.to_device(volume)), PIXEL, resolution)
    assert isinstance(found, DeviceMap) == (resolution > 4)
    expected = low_pass_map(volume.astype(np.float64), PIXEL, resolution)
    assert relative(volume_steps.to_host(found), expected) < 2e-6


@pytest.mark.parametrize("parts", [{}, {"second": True}, {"low_pass": True}])
def test_flattening(session: DeviceSession, parts: dict[str, bool]) -> None:
    rng = np.random.default_rng(0)
    volume = rng.standard_normal((24, 24, 24)).astype(session.real)
    others: dict[str, Any] = {name: rng.random(volume.shape) for name in parts}
    masks = SolventMasks(spherical_solvent_mask(24, PIXEL, 20.0, 3.0), low_pass_angst=9.0, **others)
    flattening = volume_steps.SolventFlattening(masks)
    expected = flatten_solvent(volume, masks, PIXEL)
    for _ in range(2):  # the mask is uploaded once
        volume_d = DeviceMap(session, session.to_device(volume))
        found = flattening(volume_d, PIXEL)
        assert isinstance(found, DeviceMap) == (not parts)
        assert relative(volume_steps.to_host(found), expected) < 2e-6


def test_on_the_host_nothing_changes() -> None:
    host = random_sums(2.0, 6, 16)
    found = volume_steps.reconstruct(host, None)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, reconstruct(host, None))
