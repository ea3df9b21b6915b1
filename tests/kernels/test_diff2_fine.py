"""diff2_fine and diff2_fine_vector: scores of a list of small dense blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.block_inputs import block_vectors, random_blocks
from tests.kernels.launch import rounded
from tests.kernels.scoring_kernels import coarse_product, fine_scores, split_complex
from tests.kernels.slice_inputs import pixel_list
from tests.reference.diff2_fine import Block, diff2_fine

GROUPED = [
    ("diff2_fine", {"wg": wg, "rows": rows, "trans": trans})
    for wg, rows, trans in ((1, 4, 4), (16, 8, 9), (64, 1, 3))
]
VECTORS = [("diff2_fine_vector", {"vector": vector}) for vector in (4, 8, 16)]


@pytest.fixture(params=[*GROUPED, *VECTORS], ids=lambda v: f"{v[0]}-{next(iter(v[1].values()))}")
def variant(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    chosen: tuple[str, dict[str, Any]] = request.param
    return chosen


@pytest.mark.parametrize(
    ("n_blocks", "n_trans", "n_children", "n_padded"),
    [((2, 3, 1), 5, 4, 304), ((1,), 1, 1, 16), ((0, 9, 0, 2), 3, 3, 80)],
)
@pytest.mark.parametrize("cross_correlation", [False, True])
def test_random_blocks(
    any_session: DeviceSession,
    variant: tuple[str, dict[str, Any]],
    n_blocks: tuple[int, ...],
    n_trans: int,
    n_children: int,
    n_padded: int,
    cross_correlation: bool,
) -> None:
    rng = np.random.default_rng(n_padded)
    n_images, n_slices = len(n_blocks), 20
    shape = (n_images, n_trans * n_children, n_padded)
    shifted = rounded(any_session, rng.standard_normal((*shape, 2)) @ [1, 1j])
    power = rounded(any_session, rng.uniform(0, 2, (n_images, n_padded)))
    slices = rounded(any_session, rng.standard_normal((n_slices, n_padded, 2)) @ [1, 1j])
    inverse = rounded(any_session, rng.uniform(0.1, 1, n_images)) if cross_correlation else None
    blocks = random_blocks(rng, n_blocks, n_slices, n_trans)
    name, parameters = variant
    result = fine_scores(
        any_session, name, shifted, power, slices, block_vectors(blocks, n_children), inverse,
        **parameters,
    )  # fmt: skip
    expected = diff2_fine(shifted, power, slices, blocks, n_children, inverse)
    tolerance = tolerances.of_sum(any_session.real, 2 * n_padded)
    tolerances.assert_close(result, np.concatenate([e.ravel() for e in expected]), tolerance)


@pytest.mark.parametrize(("wg", "rows", "trans"), [(1, 4, 4), (16, 8, 9), (64, 1, 3)])
@pytest.mark.parametrize(
    ("n_blocks", "n_trans", "n_children", "size"),
    [((2, 3, 1), 5, 4, 22), ((1,), 1, 1, 6), ((0, 9, 0, 2), 3, 3, 11)],
)
@pytest.mark.parametrize("cross_correlation", [False, True])
def test_shifts_are_made(
    any_session: DeviceSession,
    wg: int,
    rows: int,
    trans: int,
    n_blocks: tuple[int, ...],
    n_trans: int,
    n_children: int,
    size: int,
    cross_correlation: bool,
) -> None:
    """The same from images that are not shifted yet and the phases of the translations."""
    rng = np.random.default_rng(size)
    pixels, box = pixel_list(size), size + 5
    n_images, n_slices, n_padded = len(n_blocks), 20, pixels.n + 9
    images = np.zeros((n_images, 1, n_padded), dtype=complex)
    images[..., : pixels.n] = rng.standard_normal((n_images, 1, pixels.n, 2)) @ [1, 1j]
    images = rounded(any_session, images)
    power = rounded(any_session, rng.uniform(0, 2, (n_images, n_padded)))
    slices = rounded(any_session, rng.standard_normal((n_slices, n_padded, 2)) @ [1, 1j])
    inverse = rounded(any_session, rng.uniform(0.1, 1, n_images)) if cross_correlation else None
    blocks = random_blocks(rng, n_blocks, n_slices, n_trans)
    shifts_px = rng.uniform(-7, 7, (n_trans * n_children, 2))
    result = fine_scores(
        any_session, "diff2_fine", images, power, slices, block_vectors(blocks, n_children),
        inverse, (pixels, shifts_px, box), wg=wg, rows=rows, trans=trans,
    )  # fmt: skip
    phases = np.pad(pixels.phases(shifts_px, box), ((0, 0), (0, 9)))
    expected = diff2_fine(images * phases, power, slices, blocks, n_children, inverse)
    tolerance = tolerances.of_sum(any_session.real, 2 * n_padded)
    tolerances.assert_close(result, np.concatenate([e.ravel() for e in expected]), tolerance)


def test_one_block_of_everything_is_the_coarse_product(
    any_session: DeviceSession, variant: tuple[str, dict[str, Any]]
) -> None:
    rng = np.random.default_rng(4)
    n_trans, n_slices, n_padded = 6, 11, 64
    shifted = rng.standard_normal((1, n_trans, n_padded, 2)) @ np.array([1, 1j])
    power = rng.uniform(0, 2, (1, n_padded))
    slices = rng.standard_normal((n_slices, n_padded, 2)) @ np.array([1, 1j])
    block = Block(0, range(n_slices), tuple(range(n_trans)))
    name, parameters = variant
    fine = fine_scores(
        any_session, name, shifted, power, slices, block_vectors([block], 1), **parameters
    )
    vector: dict[str, Any] = {"rows": 4, "panel": 32, "vector": 8}
    norm = coarse_product(any_session, "diff2_coarse_vector", power, np.abs(slices) ** 2, **vector)
    coarse = coarse_product(
        any_session, "diff2_coarse_vector",
        split_complex(shifted).reshape(n_trans, -1), split_complex(slices).reshape(n_slices, -1),
        "add_norm", norm, None, n_trans, **vector,
    )  # fmt: skip
    tolerance = tolerances.of_sum(any_session.real, 2 * n_padded)
    tolerances.assert_close(fine.reshape(n_slices, n_trans), coarse.T, tolerance)


def test_projections_of_zeros(
    any_session: DeviceSession, variant: tuple[str, dict[str, Any]]
) -> None:
    shifted = np.ones((1, 2, 16), dtype=complex)
    power = np.ones((1, 16))
    slices = np.zeros((3, 16), dtype=complex)
    name, parameters = variant
    vectors = block_vectors([Block(0, range(3), (0, 1))], 1)
    for inverse in (None, np.ones(1)):
        result = fine_scores(
            any_session, name, shifted, power, slices, vectors, inverse, **parameters
        )
        assert np.all(result == 0)
