"""References made on the device against those of the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.device.session import DeviceSession
from clrelion.errors import NumericalError
from clrelion.expectation.device_reference import reference_transforms_on_device
from clrelion.expectation.projections import Projector
from clrelion.expectation.reference import ReferenceTransform, reference_transform
from tests.reference.held_device import card_on, while_held

# N, padding, R: P = N_p/2 and below, odd N p
GEOMETRIES = [(24, 1.0, 12), (24, 2.0, 12), (26, 1.85, 13), (44, 1.85, 9), (44, 2.0, 22),
              (64, 1.0, 20)]  # fmt: skip


def noise(n: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, n, n)).astype(np.float32)


def relative(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def check(session: DeviceSession, geometry: tuple[int, float, int], first_shell: int) -> None:
    n, padding, r_max = geometry
    tolerance = 1e-6 if session.precision == "single" else 1e-13
    maps = [noise(n), None, noise(n, 1)]
    found = reference_transforms_on_device(session, maps, padding, r_max, first_shell=first_shell)
    assert found[1] is None
    for volume, reference in zip(maps, found, strict=True):
        if volume is None or reference is None:
            continue
        expected = reference_transform(
            volume.astype(np.float64), padding, r_max, first_shell=first_shell
        )
        assert isinstance(reference, ReferenceTransform)
        for name in ("padding_factor", "r_max", "ori_size", "padded_radius"):
            assert getattr(reference, name) == getattr(expected, name)
        data = reference.data
        assert relative(data, expected.data) < tolerance
        assert not data[expected.data == 0].any()
        assert relative(reference.power_spectrum, expected.power_spectrum) < tolerance
    stack = session.to_host(found[0].stack) if found[0] else np.ones(3)
    assert not stack[1].any()


@pytest.mark.parametrize("first_shell", [-1, 3])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_like_the_host(
    session: DeviceSession, geometry: tuple[int, float, int], first_shell: int
) -> None:
    check(session, geometry, first_shell)


@pytest.mark.parametrize("geometry", GEOMETRIES[1:3], ids=str)
def test_double_precision(session_double: DeviceSession, geometry: tuple[int, float, int]) -> None:
    check(session_double, geometry, 2)


def test_projector_takes_them_without_a_copy(session: DeviceSession) -> None:
    found = reference_transforms_on_device(session, [None, noise(24)], 2.0, 10)
    assert found[1] is not None
    before = session.allocated_bytes
    projector = Projector(session, found)
    assert session.allocated_bytes == before
    assert (projector.edge, projector.nx, projector.n_classes) == (43, 22, 2)


def test_no_class_left(session: DeviceSession) -> None:
    assert reference_transforms_on_device(session, [None, None], 2.0, 10) == [None, None]


def test_bad_maps_are_found(session: DeviceSession) -> None:
    bad = noise(24)
    bad[3, 4, 5] = np.inf
    (found,) = reference_transforms_on_device(session, [bad], 2.0, 10)
    assert found is not None
    with pytest.raises(NumericalError, match="NaN or infinity"):
        _ = found.power_spectrum


def test_only_the_spectrum_is_waited_for(session: DeviceSession) -> None:
    card, volume = card_on(session), noise(104)  # more than is copied for later
    (expected,) = reference_transforms_on_device(card, [volume], 1.0, 20)
    (found,) = while_held(
        card, lambda: reference_transforms_on_device(card, [volume], 1.0, 20)
    )
    assert found is not None
    assert expected is not None
    np.testing.assert_array_equal(found.power_spectrum, expected.power_spectrum)
    np.testing.assert_array_equal(found.data, expected.data)
