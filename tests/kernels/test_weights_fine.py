"""weights_fine: posterior weights of the fine samples, in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.block_inputs import block_vectors, random_blocks
from tests.kernels.launch import Output, rounded, run_kernel
from tests.reference.diff2_fine import Block
from tests.reference.weights_fine import FineWeights, weights_fine


@dataclass(frozen=True)
class Problem:
    """A batch of blocks with their scores."""

    diff2: list[npt.NDArray[np.float64]]
    blocks: list[Block]
    n_children: int
    log_translation: npt.NDArray[np.float64]
    centre: npt.NDArray[np.float64]
    trans_px: npt.NDArray[np.float64]
    pixel_size: float = 1.25

    def expected(self, **choices: Any) -> list[FineWeights]:
        return weights_fine(
            self.diff2, self.blocks, self.n_children, self.log_translation, self.centre,
            self.trans_px, self.pixel_size, **choices,
        )  # fmt: skip


def problem_of(
    session: DeviceSession,
    rng: np.random.Generator,
    n_blocks: Sequence[int],
    n_trans: int,
    n_children: int,
    spread: float = 3.0,
) -> Problem:
    blocks = [
        Block(b.image, b.slices, b.translations, float(session.real(b.log_prior)))
        for b in random_blocks(rng, n_blocks, 20, n_trans)
    ]
    diff2 = [
        rounded(
            session,
            200 + spread * rng.standard_normal((len(b.slices), len(b.children(n_children)))),
        )
        for b in blocks
    ]
    n_images = len(n_blocks)
    return Problem(
        diff2, blocks, n_children,
        rounded(session, rng.normal(0, 1, (n_images, n_trans))),
        rounded(session, rng.uniform(-1, 1, (n_images, 2))),
        rounded(session, rng.uniform(-5, 5, (n_trans * n_children, 2))),
    )  # fmt: skip


def kernel_weights(
    session: DeviceSession,
    problem: Problem,
    wg: int,
    adaptive_fraction: float = 1.0,
    max_significants: int = -1,
    hard: bool = False,
) -> list[FineWeights]:
    """What the kernel leaves behind, image by image."""
    vectors = block_vectors(problem.blocks, problem.n_children)
    n_images, n_trans = problem.log_translation.shape
    flat = np.concatenate([np.empty(0), *(d.ravel() for d in problem.diff2)])
    samples = Output(session, vectors.n_samples, start=flat)
    sums, found = Output(session, (n_images, 4)), Output(session, (n_images, 2), np.int32)
    run_kernel(
        session, "weights_fine", (n_images * wg,), (wg,),
        samples, vectors.block_start(n_images), vectors.sample_start(n_images), vectors.n_rows,
        vectors.trans, vectors.n_trans, vectors.trans_list,
        np.array([b.log_prior for b in problem.blocks]), problem.log_translation,
        problem.centre, problem.trans_px, n_trans, problem.n_children, problem.pixel_size,
        adaptive_fraction, max_significants, sums, found, wg=wg, hard=hard,
    )  # fmt: skip
    omegas = np.split(samples.read(), vectors.sample_start(n_images)[1:-1])
    result = []
    for omega, of_image, counted in zip(omegas, sums.read(), found.read(), strict=True):
        maximum, sum_weight, sum_omega, sum_offset2 = of_image.tolist()
        best, n_significant = counted.tolist()
        tolerance = tolerances.of_sum(session.real, omega.size)
        assert abs(sum_omega - omega.sum(dtype=np.float64)) <= tolerance
        result.append(
            FineWeights(
                omega, omega * sum_weight, maximum, sum_weight, sum_offset2, best, n_significant
            )
        )
    return result


def assert_same(
    session: DeviceSession, found: list[FineWeights], expected: list[FineWeights]
) -> None:
    for result, wanted in zip(found, expected, strict=True):
        n = wanted.omega.size
        tolerance = tolerances.of_exponential(session.real, 300, n)
        assert result.best == wanted.best
        assert result.n_significant == wanted.n_significant
        tolerances.assert_close(result.omega, wanted.omega, tolerance)
        np.testing.assert_array_equal(result.omega > 0, wanted.omega > 0)
        for name in ("maximum", "sum_weight", "sum_offset2"):
            tolerances.assert_close(getattr(result, name), getattr(wanted, name), tolerance)


@pytest.mark.parametrize("wg", [1, 16, 64])
@pytest.mark.parametrize(
    ("n_blocks", "n_trans", "n_children"), [((2, 30, 1), 5, 4), ((1,), 1, 1), ((0, 9, 0, 2), 3, 3)]
)
@pytest.mark.parametrize(("fraction", "max_significants"), [(0.9, -1), (0.9, 5)])
def test_random_blocks(
    any_session: DeviceSession,
    wg: int,
    n_blocks: tuple[int, ...],
    n_trans: int,
    n_children: int,
    fraction: float,
    max_significants: int,
) -> None:
    smallest = float(np.finfo(any_session.real).tiny)
    for seed in range(100):
        problem = problem_of(
            any_session, np.random.default_rng(seed), n_blocks, n_trans, n_children
        )
        expected = problem.expected(
            adaptive_fraction=fraction, max_significants=max_significants, smallest=smallest
        )
        # the decision must not hang on the last bits of the exponents
        running = [np.cumsum(np.sort(e.weight)[::-1]) / (e.sum_weight or 1) for e in expected]
        if all(np.min(np.abs(r - fraction), initial=1) > 1e-3 for r in running):
            break
    else:
        pytest.fail("no seed gives a clear threshold")
    found = kernel_weights(any_session, problem, wg, fraction, max_significants)
    assert_same(any_session, found, expected)


@pytest.mark.parametrize("wg", [1, 16, 64])
def test_hard_assignment(any_session: DeviceSession, wg: int) -> None:
    """The best sample gets everything, the first one on ties."""
    problem = problem_of(any_session, np.random.default_rng(5), (3, 1, 20), 5, 4)
    tied = [np.round(d / 3) for d in problem.diff2]
    flat = [Block(b.image, b.slices, b.translations, 0.0) for b in problem.blocks]
    no_prior = np.zeros_like(problem.log_translation)
    problem = Problem(tied, flat, 4, no_prior, problem.centre, problem.trans_px)
    found = kernel_weights(any_session, problem, wg, hard=True)
    expected = problem.expected(hard=True)
    assert_same(any_session, found, expected)
    assert [e.omega.max() for e in found] == [1.0, 1.0, 1.0]
    assert [e.n_significant for e in found] == [1, 1, 1]


@pytest.mark.parametrize("wg", [1, 16, 64])
@pytest.mark.parametrize("hard", [False, True])
def test_limits(any_session: DeviceSession, wg: int, hard: bool) -> None:
    """One sample; none; no prior anywhere; weights that underflow; translations without prior."""
    blocks = [
        Block(0, range(1), (1,), -3.0),
        Block(2, range(40), (0, 1), -np.inf),
        Block(3, range(40), (0, 1), 0.0),
        Block(4, range(2), (0, 1), 0.0),
    ]
    diff2 = [np.full((len(b.slices), len(b.translations)), 50.0) for b in blocks]
    diff2[2][:] = 5000.0
    diff2[2][33, 1] = 1.0
    log_translation = np.zeros((5, 2))
    log_translation[4] = [-np.inf, 0.0]
    trans_px = np.array([[0.0, 0.0], [3.0, 4.0]])
    problem = Problem(diff2, blocks, 1, log_translation, np.zeros((5, 2)), trans_px, 2.0)
    one, none, no_prior, underflow, half = kernel_weights(any_session, problem, wg, 0.999, -1, hard)
    assert (one.maximum, one.sum_weight, one.best, one.n_significant) == (-53.0, 1.0, 0, 1)
    assert one.omega.tolist() == [1.0]
    assert one.sum_offset2 == 100.0
    assert (none.maximum, none.sum_weight, none.best, none.n_significant) == (-np.inf, 0.0, -1, 0)
    assert no_prior.maximum == -np.inf
    assert (no_prior.sum_weight, no_prior.best, no_prior.n_significant) == (0.0, -1, 0)
    assert np.all(no_prior.omega == 0)
    assert (underflow.sum_weight, underflow.best, underflow.n_significant) == (1.0, 67, 1)
    assert underflow.omega.sum() == 1.0
    expected = ([0.0, 1.0, 0.0, 0.0], 1.0, 100.0) if hard else ([0.0, 0.5, 0.0, 0.5], 2.0, 100.0)
    assert (half.omega.tolist(), half.sum_weight, half.sum_offset2) == expected
    assert half.best == 1
