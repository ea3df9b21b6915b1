"""backproject_orientations: images that share an orientation are added up before the scatter."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from clrelion.device.capabilities import integer_atomics_path
from clrelion.device.session import DeviceSession
from tests.kernels.sums_inputs import BOX, CASES, Batch, assert_same, kernel_sums, random_batch
from tests.reference.backproject_orientations import backproject_orientations
from tests.reference.weighted_sums import WeightedSums


def expected_sums(
    batch: Batch, grouped: bool, units: tuple[float, float] | None = None
) -> WeightedSums:
    """Of the twin; sums by pixel are those of weighted_sums."""
    rows = batch.reference_rows()
    place, start = batch.groups()
    order = np.argsort(place)
    groups = [[row] for row in rows]
    if grouped:
        groups = [[rows[n] for n in order[first:last]] for first, last in pairwise(start)]
    data, weight = backproject_orientations(
        batch.unmasked_ft, batch.bp_data, batch.bp_weight, groups,
        batch.pixels.phases(batch.shifts_px, BOX), batch.pixels.xy, batch.shape, units,
    )  # fmt: skip
    return WeightedSums(batch.expected().pixel_sums, data, weight)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("group", [(1, 1), (16, 2), (64, 1)])
@pytest.mark.parametrize(("size", "rows_of_image", "n_classes", "n_trans"), CASES)
def test_random_batch(
    any_session: DeviceSession,
    grouped: bool,
    group: tuple[int, int],
    size: int,
    rows_of_image: tuple[int, ...],
    n_classes: int,
    n_trans: int,
) -> None:
    rng = np.random.default_rng(size)
    batch = random_batch(any_session, rng, size, rows_of_image, n_classes, n_trans)
    expected = expected_sums(batch, grouped)
    for path in {any_session.template_params["float_atomics"], "cas"}:
        found = kernel_sums(
            any_session, batch, "apart", group, grouped=grouped, float_atomics=path
        )
        assert_same(any_session, found, expected, n_trans, batch.pixels.centre)


def test_both_twins_agree(any_session: DeviceSession) -> None:
    """Scattered together or one by one."""
    batch = random_batch(any_session, np.random.default_rng(6), 10, (5,) * 9, 1, 2)
    expected = batch.expected()
    for grouped in (False, True):
        found = expected_sums(batch, grouped)
        np.testing.assert_allclose(found.data, expected.data, atol=1e-12)
        np.testing.assert_allclose(found.weight, expected.weight, atol=1e-12)


def integer_paths(session: DeviceSession) -> list[str]:
    """Ways of adding 64-bit integers that work on a device; ``carry`` works on all of them."""
    best = integer_atomics_path(session.device, session.context)
    return ["carry"] if best == "carry" else [best, "carry"]


@pytest.mark.parametrize(("size", "rows_of_image", "n_classes", "n_trans"), CASES)
def test_random_batch_in_fixed_point(
    any_session: DeviceSession,
    size: int,
    rows_of_image: tuple[int, ...],
    n_classes: int,
    n_trans: int,
) -> None:
    """As exact as sums of reals; the same bits whichever way, and however rows are grouped."""
    rng = np.random.default_rng(size)
    batch = random_batch(any_session, rng, size, rows_of_image, n_classes, n_trans)
    first, *others = (
        kernel_sums(
            any_session, batch, "apart", group, grouped=grouped, units=(2.0**-54, 2.0**-50),
            fixed_point=True, integer_atomics=path,
        )
        for path in integer_paths(any_session)
        for grouped in (False, True)
        for group in [(1, 1), (16, 2), (64, 1)]
    )  # fmt: skip
    assert_same(any_session, first, batch.expected(), n_trans, batch.pixels.centre)
    for other in others:
        np.testing.assert_array_equal(other.data, first.data)
        np.testing.assert_array_equal(other.weight, first.weight)
        np.testing.assert_array_equal(other.pixel_sums, first.pixel_sums)


def test_fixed_point_does_not_depend_on_the_batches(any_session: DeviceSession) -> None:
    """Half of the images after the other half, grouped among themselves: not a bit differs."""
    batch = random_batch(any_session, np.random.default_rng(8), 14, (6,) * 11, 2, 3)
    given: dict[str, Any] = {
        "units": (2.0**-12, 2.0**-10), "fixed_point": True, "integer_atomics": "carry",
    }  # fmt: skip
    whole = kernel_sums(any_session, batch, "apart", grouped=True, **given)
    data, weight = np.zeros_like(whole.data), np.zeros_like(whole.weight)
    for chosen in (range(4), range(4, 11)):
        rows = [row for row in batch.rows if row[0] in chosen]
        part = Batch(**{**vars(batch), "rows": rows})
        sums = kernel_sums(any_session, part, "apart", grouped=True, **given)
        data += sums.data
        weight += sums.weight
    np.testing.assert_array_equal(data, whole.data)
    np.testing.assert_array_equal(weight, whole.weight)


@pytest.mark.parametrize("grouped", [False, True])
def test_shares_are_rounded_to_whole_numbers(any_session: DeviceSession, grouped: bool) -> None:
    """Each row's share of its own, to the next one: voxel for voxel the same as by hand."""
    batch = random_batch(any_session, np.random.default_rng(5), 14, (3, 9, 7, 1), 2, 3)
    units = (2.0**-4, 2.0**-6)
    found = kernel_sums(
        any_session, batch, "apart", grouped=grouped, units=units, fixed_point=True,
        integer_atomics="carry",
    )  # fmt: skip
    expected = expected_sums(batch, grouped, units)
    exact = expected_sums(batch, grouped)
    for values, wanted, by_reals, unit in (
        (found.data.real, expected.data.real, exact.data.real, units[0]),
        (found.data.imag, expected.data.imag, exact.data.imag, units[0]),
        (found.weight, expected.weight, exact.weight, units[1]),
    ):
        counts = values / unit
        np.testing.assert_array_equal(counts, np.rint(counts))
        # half a unit may be rounded either way where the last digits differ
        assert np.mean(values != wanted) < 1e-3
        assert np.abs(values - wanted).max() <= 2 * unit
        assert np.mean(np.abs(values - by_reals) > 0.1 * unit) > 0.01
