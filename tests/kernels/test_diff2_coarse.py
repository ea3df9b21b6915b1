"""diff2_coarse, _vector and _tensor: scores of all images with a run of orientations."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import rounded
from tests.kernels.scoring_kernels import coarse_product, operands, packed_slices, split_complex
from tests.kernels.slice_inputs import pixel_list, random_grid, random_reference
from tests.reference.diff2_coarse import diff2_coarse
from tests.reference.project_grid import project_grid

TILED: tuple[str, dict[str, Any]] = ("diff2_coarse", {})
VECTORS: list[tuple[str, dict[str, Any]]] = [
    ("diff2_coarse_vector", {"rows": 4, "panel": 32, "vector": 8}),
    ("diff2_coarse_vector", {"rows": 3, "panel": 16, "vector": 16}),
    ("diff2_coarse_vector", {"rows": 1, "panel": 8, "vector": 4}),
]


@pytest.fixture(
    params=[TILED, *VECTORS], ids=lambda v: "-".join([v[0], *(str(x) for x in v[1].values())])
)
def variant(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    chosen: tuple[str, dict[str, Any]] = request.param
    return chosen


@pytest.mark.parametrize(
    ("n_images", "n_trans", "n_orientations", "depth", "first_column"),
    [(3, 5, 70, 96, 11), (1, 1, 1, 16, 0), (7, 19, 129, 32, 4)],
)
@pytest.mark.parametrize("epilogue", ["none", "add_norm", "correlation"])
def test_random_matrices(
    any_session: DeviceSession,
    variant: tuple[str, dict[str, Any]],
    epilogue: Any,
    n_images: int,
    n_trans: int,
    n_orientations: int,
    depth: int,
    first_column: int,
) -> None:
    rng = np.random.default_rng(depth)
    images = rounded(any_session, rng.standard_normal((n_images * n_trans, depth)))
    projections = rounded(any_session, rng.standard_normal((n_orientations, depth)))
    norm = rounded(any_session, rng.uniform(1, 50, (n_images, n_orientations)))
    norm[0, 0] = 0.0  # an empty projection
    inverse = rounded(any_session, rng.uniform(0.01, 1, n_images))
    given = (
        epilogue,
        None if epilogue == "none" else norm,
        inverse if epilogue == "correlation" else None,
        n_trans,
    )
    name, parameters = variant
    if variant == TILED:
        first_column += -first_column % 4
    result = coarse_product(
        any_session, name, images, projections, *given, first_column, **parameters
    )
    expected = diff2_coarse(images, projections, *given)
    tolerances.assert_close(result, expected, tolerances.of_sum(any_session.real, depth))


@pytest.mark.parametrize(
    ("n_images", "n_trans", "n_orientations", "depth", "first_column"),
    [(3, 5, 70, 96, 10), (1, 1, 1, 16, 0), (7, 19, 300, 208, 4)],
)
@pytest.mark.parametrize("epilogue", ["none", "add_norm", "correlation"])
def test_tensor_cores(
    session: DeviceSession,
    epilogue: Any,
    n_images: int,
    n_trans: int,
    n_orientations: int,
    depth: int,
    first_column: int,
) -> None:
    """As accurate as single precision, though amplitudes differ by 10^7 along a row."""
    if session.capabilities.tensor == "none":
        pytest.skip(f"{session.info.label} has no tensor path")
    rng = np.random.default_rng(depth)
    fall = np.geomspace(1e6, 0.1, depth)
    images = rounded(session, rng.standard_normal((n_images * n_trans, depth)) / fall)
    projections = rounded(session, rng.standard_normal((n_orientations, depth)) * fall)
    projections[-1] = 0.0
    norm = rounded(session, rng.uniform(1, 50, (n_images, n_orientations)))
    norm[0, 0] = 0.0
    given = (
        epilogue,
        None if epilogue == "none" else norm,
        rounded(session, rng.uniform(0.01, 1, n_images)) if epilogue == "correlation" else None,
        n_trans,
    )
    result = coarse_product(
        session, "diff2_coarse_tensor", images, projections, *given, first_column
    )
    expected = diff2_coarse(images, projections, *given)
    tolerances.assert_close(result, expected, tolerances.of_sum(session.real, depth))


def test_tensor_cores_do_not_drift(session: DeviceSession) -> None:
    """Sums of one sign: cutting off instead of rounding would take a piece off every term."""
    if session.capabilities.tensor == "none":
        pytest.skip(f"{session.info.label} has no tensor path")
    rng = np.random.default_rng(2)
    depth = 16 * 500
    images = rounded(session, rng.uniform(0.5, 1.5, (70, depth)))
    projections = rounded(session, rng.uniform(0.5, 1.5, (130, depth)))
    result = coarse_product(session, "diff2_coarse_tensor", images, projections)
    expected = diff2_coarse(images, projections)
    drift = float(np.mean(result / expected - 1))
    assert abs(drift) < 2e-6  # one chain through the tensor cores: 4e-5


def test_variants_agree(any_session: DeviceSession) -> None:
    rng = np.random.default_rng(5)
    images, projections = rng.standard_normal((9, 64)), rng.standard_normal((40, 64))
    tiled = coarse_product(any_session, TILED[0], images, projections)
    for name, parameters in VECTORS:
        result = coarse_product(any_session, name, images, projections, **parameters)
        tolerances.assert_close(result, tiled, tolerances.of_sum(any_session.real, 64))


def test_projections_of_zeros(
    any_session: DeviceSession, variant: tuple[str, dict[str, Any]]
) -> None:
    """No reference: diff2 is the constant that was left out, the correlation is zero."""
    name, parameters = variant
    images, projections = np.ones((6, 16)), np.zeros((5, 16))
    norm, inverse = np.zeros((2, 5)), np.ones(2)
    choices: list[tuple[Any, Any, Any]] = [
        ("none", None, None), ("add_norm", norm, None), ("correlation", norm, inverse)
    ]  # fmt: skip
    for given in choices:
        result = coarse_product(any_session, name, images, projections, *given, 3, 0, **parameters)
        assert np.all(result == 0)


def _problem(rng: np.random.Generator) -> dict[str, Any]:
    pixels = pixel_list(14)
    n_images = 3
    grid = random_grid(rng, 6, 2)
    reference = random_reference(rng, 1, pixels.centre)
    shifts = rng.uniform(-3, 3, (4, 2))
    return {
        "image_ft": rng.standard_normal((n_images, pixels.n, 2)) @ [1, 1j],
        "ctf": rng.uniform(-1, 1, (n_images, pixels.n)),
        "scale": rng.uniform(0.5, 2, n_images),
        "shifts": shifts,
        "phases": pixels.phases(shifts, 20),
        "reference": reference,
        "slices": project_grid(reference, grid.matrices, 0, 12, pixels.xy),
        "weight": rng.uniform(1, 3, pixels.n),
        "grid": grid,
    }


def _kernel_chain(
    session: DeviceSession,
    problem: dict[str, Any],
    variant: tuple[str, dict[str, Any]],
    power_factor: float,
    inverse_image_norm: npt.NDArray[Any] | None,
) -> npt.NDArray[Any]:
    """Scores (image, translation, orientation) from the kernels alone."""
    name, parameters = variant
    pixels = pixel_list(14)
    n_padded = -(-pixels.n // 16) * 16
    linear, power = operands(
        session, problem["image_ft"], problem["ctf"], problem["scale"], problem["weight"],
        np.arange(pixels.n), pixels, problem["shifts"], 20, power_factor, n_padded,
    )  # fmt: skip
    panel = parameters.get("panel", 128)
    projections, powers = packed_slices(
        session, problem["reference"], problem["grid"], 0, 12, pixels, n_padded, pixels.n, panel
    )

    def unpacked(packed: npt.NDArray[Any]) -> npt.NDArray[Any]:
        depth = packed[0].size // panel
        return packed.reshape(-1, depth, panel).transpose(0, 2, 1).reshape(-1, depth)[:12]

    norm = coarse_product(session, name, power, unpacked(powers), **parameters)
    images = split_complex(linear).reshape(-1, 2 * n_padded)
    epilogue = "add_norm" if inverse_image_norm is None else "correlation"
    scores = coarse_product(
        session, name, images, unpacked(projections), epilogue, norm, inverse_image_norm, 4,
        **parameters,
    )  # fmt: skip
    return scores.reshape(3, 4, 12)


def test_specification_5_4_a(
    any_session: DeviceSession, variant: tuple[str, dict[str, Any]]
) -> None:
    """Projection, operands and both products together are 1/2 sum W |q C P - X S|^2."""
    problem = _problem(np.random.default_rng(8))
    reference = (problem["scale"][:, None] * problem["ctf"])[:, None] * problem["slices"]
    shifted = problem["image_ft"][:, None] * problem["phases"]
    residual = np.abs(reference[:, None] - shifted[:, :, None]) ** 2
    expected = 0.5 * np.einsum("j,itrj->itr", problem["weight"], residual)
    constant = 0.5 * np.einsum("j,ij->i", problem["weight"], np.abs(problem["image_ft"]) ** 2)
    result = _kernel_chain(any_session, problem, variant, 0.5, None)
    tolerance = tolerances.of_interpolation(any_session.real, 15, 200)
    tolerances.assert_close(result + constant[:, None, None], expected, tolerance)


def test_specification_5_4_b(
    any_session: DeviceSession, variant: tuple[str, dict[str, Any]]
) -> None:
    """The cross-correlation iteration: - Re sum (q C P)* X S over both norms."""
    problem = _problem(np.random.default_rng(9))
    w = problem["weight"]
    reference = (problem["scale"][:, None] * problem["ctf"])[:, None] * problem["slices"]
    shifted = problem["image_ft"][:, None] * problem["phases"]
    product = np.einsum("j,irj,itj->itr", w, reference.conj(), shifted).real
    reference_norm = np.sqrt(np.einsum("j,irj->ir", w, np.abs(reference) ** 2))
    image_norm = np.sqrt(np.einsum("j,ij->i", w, np.abs(problem["image_ft"]) ** 2))
    expected = -product / reference_norm[:, None] / image_norm[:, None, None]
    result = _kernel_chain(any_session, problem, variant, 1.0, 1 / image_norm)
    tolerance = tolerances.of_interpolation(any_session.real, 15, 200)
    tolerances.assert_close(result, expected, tolerance)
