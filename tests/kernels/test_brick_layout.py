"""brick_layout: references stored brick by brick."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, rounded, run_kernel
from tests.reference.brick_layout import brick_layout


@pytest.mark.parametrize(
    ("n_classes", "edge", "nx", "brick", "group"),
    [
        (2, 15, 8, (2, 4, 4), (1, 1, 1)),
        (3, 9, 5, (4, 2, 2), (16, 1, 1)),
        (1, 5, 3, (2, 2, 2), (8, 2, 1)),
        (2, 7, 6, (1, 4, 2), (1, 1, 1)),
        (2, 16, 12, (4, 2, 2), (4, 1, 1)),
    ],
)
def test_each_voxel_is_in_its_brick(
    any_session: DeviceSession,
    n_classes: int,
    edge: int,
    nx: int,
    brick: tuple[int, int, int],
    group: tuple[int, int, int],
) -> None:
    """All places are written: those behind the reference with zeros."""
    rng = np.random.default_rng(edge)
    shape = n_classes, edge, edge, nx
    reference = rounded(any_session, rng.standard_normal((*shape, 2)) @ [1, 1j])
    expected = brick_layout(reference, brick)
    n_x, n_y, n_z = (-(-n // b) for n, b in zip((nx, edge, edge), brick, strict=True))
    bricks = Output(any_session, expected.shape, any_session.complex)
    items = n_x * brick[0], n_y * brick[1], n_classes * n_z * brick[2]
    run_kernel(
        any_session, "brick_layout", items, group,
        reference, edge, nx, n_x, n_y, n_z, n_classes, bricks, brick=brick,
    )  # fmt: skip
    np.testing.assert_array_equal(bricks.read(), expected)
    assert np.count_nonzero(expected) == reference.size


def test_twin_by_hand() -> None:
    """Two bricks of 2 x 1 x 2 along x, one along y and z; the second has one voxel in a row."""
    reference = np.array([[[[1, 2, 3]], [[4, 5, 6]]]])
    assert brick_layout(reference, (2, 1, 2)).tolist() == [[1, 2, 4, 5, 3, 0, 6, 0]]
