"""A run's state and sums of 16 px maps, without any expectation step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.cli.parser import parse_refine
from clrelion.expectation.reference import reference_transform
from clrelion.expectation.results import ExpectationResult
from clrelion.maximization.sums import BackprojectionSums, ParameterSums
from clrelion.options import RefineOptions
from clrelion.refinement.ended_step import EndedStep
from clrelion.refinement.schedule_state import SamplingState, ScheduleState
from clrelion.refinement.started_steps import StartedSteps
from clrelion.refinement.state import HalfModel, RunState
from tests.expectation.small_run import optics_group, particle_table
from tests.reference.phantoms import blob_map, uniform_matrices
from tests.reference.slices import backproject, project

N = 16
PIXEL = 2.0
S = 14
N_SLICES = 400
SIGMA2 = 1e-4


def options_of(*arguments: str) -> RefineOptions:
    start = ["--i", "p.star", "--o", "out/run", "--ref", "r.mrc", "--particle_diameter", "24"]
    return parse_refine([*start, *arguments]).options


def truth(k: int = 0) -> NDArray[np.float64]:
    return blob_map(N, 20, seed=k + 1)


def half_model(n_classes: int, value: float = 0.5) -> HalfModel:
    """Model whose numbers tell where they come from."""
    shells = np.full((n_classes, N // 2 + 1), value)
    return HalfModel(
        maps=[np.full((N, N, N), value) for _ in range(n_classes)],
        pdf_class=np.full(n_classes, 1.0 / n_classes),
        pdf_direction=np.full((n_classes, 12), 1.0 / (12 * n_classes)),
        sigma2_noise=np.full((2, N // 2 + 1), SIGMA2),
        tau2=shells.copy(),
        data_vs_prior=shells.copy(),
        sigma2_class=shells.copy(),
        fourier_coverage=shells.copy(),
        fsc_halves=np.zeros(N // 2 + 1),
        scale_correction=np.ones(2),
        avg_norm_correction=1.1,
        sigma2_offset_angst2=50.0,
        overall_coverage=np.full(n_classes, value),
        acc_rot_deg=np.full(n_classes, 2.0),
        acc_trans_angst=np.full(n_classes, 1.0),
    )


def run_state(n_classes: int = 1, is_split: bool = False, **changes: Any) -> RunState:
    groups = [0, 1, 0, 1, 0, 0]
    table = particle_table([optics_group("a", N, PIXEL), optics_group("b", N, PIXEL)], groups)
    table.random_subset[:] = [1, 2, 1, 2, 2, 1]
    sampling = SamplingState(0, -1.0, 6.0, 2.0, 0, -1.0, 6.0, 2.0)
    values: dict[str, Any] = {
        "table": table,
        "models": [half_model(n_classes) for _ in range(2 if is_split else 1)],
        "ori_size": N,
        "pixel_size_angst": PIXEL,
        "iteration": 2,
        "schedule": ScheduleState(current_resolution_inv_angst=1 / 8.0),
        "sampling": sampling,
        "start_sampling": sampling,
        "current_size": S,
    }
    return RunState(**{**values, **changes})


def backprojection(k: int, seed: int, noise: float = 0.0) -> BackprojectionSums:
    """Slices of the true map of class k, white noise added, each with weight 1/sigma2."""
    reference = reference_transform(truth(k), 2.0, S // 2)
    matrices = uniform_matrices(N_SLICES, seed)
    slices = project(reference, matrices, S)
    rng = np.random.default_rng(seed)
    slices += noise * (rng.standard_normal(slices.shape) + 1j * rng.standard_normal(slices.shape))
    sums = BackprojectionSums.zeros(2.0, S // 2, N)
    backproject(sums, slices / SIGMA2, np.full(slices.shape, 1 / SIGMA2), matrices)
    return sums


def parameter_sums(pdf_class: list[float], seed: int = 0) -> ParameterSums:
    rng = np.random.default_rng(seed)
    weights = np.array(pdf_class)
    sums = ParameterSums.zeros(len(weights), 12, 2, 2, N)
    sums.pdf_class[:] = weights
    share = rng.uniform(0.1, 1.0, (len(weights), 12))
    sums.pdf_direction[:] = weights[:, None] * share / share.sum(axis=1, keepdims=True)
    sums.sumw_group[:] = np.array([0.6, 0.4]) * weights.sum()
    sums.sigma2_noise[:] = rng.uniform(1e-3, 2e-3, sums.sigma2_noise.shape)
    sums.scale_xa[:], sums.scale_aa[:] = [0.9, 1.2], [1.0, 1.0]
    sums.sigma2_offset_sum = 40.0 * weights.sum()
    sums.norm_sum = 0.9 * weights.sum()
    sums.log_likelihood = -123.0 * weights.sum()
    sums.pmax_sum = 0.4 * weights.sum()
    return sums


def ended(results: list[ExpectationResult]) -> EndedStep:
    """A step of one rank with these results of its half-sets."""
    nothing: Any = None
    return EndedStep(
        [given.backprojections for given in results],
        [[0] * len(given.backprojections) for given in results],
        [given.parameters.pdf_class.copy() for given in results],
        lambda: [given.parameters for given in results],
        nothing,
        StartedSteps(),
    )


def result(pdf_class: list[float], seed: int = 0, noise: float = 0.0) -> ExpectationResult:
    volumes = [
        backprojection(k, 10 * seed + k, noise)
        if weight > 0
        else BackprojectionSums.zeros(2.0, S // 2, N)
        for k, weight in enumerate(pdf_class)
    ]
    return ExpectationResult(parameter_sums(pdf_class, seed), volumes)
