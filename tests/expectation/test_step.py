"""The whole expectation step against a NumPy twin that goes through the samples one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceMemoryError, NumericalError
from clrelion.expectation import batch_work, fine_part
from clrelion.expectation.batch_work import BatchWork
from clrelion.expectation.detector_response import DetectorResponse
from clrelion.expectation.device_space import DeviceSpace
from clrelion.expectation.images import BatchImages
from clrelion.expectation.projections import Projector, SliceRows
from clrelion.expectation.results import NOT_FINITE, ExpectationResult, ParticleResults
from clrelion.expectation.scoring import ScoringOperands
from clrelion.expectation.settings import CtfRules, LocalSearch
from clrelion.expectation.weights import SignificanceSearch, SignificantSamples
from clrelion.fourier.shells import pixels_per_shell
from clrelion.fourier.transforms import rescale_image
from clrelion.io.mtf import MtfCurve
from clrelion.maximization.sums import BackprojectionSums
from clrelion.maximization.update_model import noise_spectra
from clrelion.maximization.waiting_sums import WaitingSums
from clrelion.planning.step import StepPlan, plan_step
from tests.expectation.small_run import (
    SmallRun,
    geometry_of,
    optics_group,
    particle_table,
    small_run,
)
from tests.reference.expectation_step import StepResult

LOCAL = LocalSearch(30.0, 25.0, 40.0, centre_on_current=False)


def aberrated() -> SmallRun:
    run = small_run(ctf=CtfRules(True, True, intact_first_peak=True))
    run = run.with_optics(
        0, beam_tilt_x_mrad=2.0, beam_tilt_y_mrad=-1.0, even_zernike=(0.1, 0.0, 3.0, 1.0),
        mag_matrix=np.array([[1.02, 0.01], [0.01, 0.97]]),
    )  # fmt: skip
    frequency = np.linspace(0, 0.5, 6)
    curves = [MtfCurve(frequency, np.linspace(1, low, 6)) for low in (0.2, 0.5)]
    geometry = [
        replace(g, response=DetectorResponse(curve, curves))
        for g, curve in zip(run.settings.geometry, curves, strict=True)
    ]
    return run.changed(geometry=geometry)


def with_other_images() -> SmallRun:
    run = small_run()
    others = {i: np.roll(image, 2, axis=0) for i, image in run.images.items()}
    return replace(run, reconstruct_images=others)


CASES = {
    "normal": small_run,
    "noise fill": lambda: small_run(zero_mask=False, perturbation=0.0),
    "cross-correlation": lambda: small_run(
        do_cross_correlation=True, ctf=CtfRules(True, references_corrected=False)
    ),
    "local": lambda: small_run(symmetry="C2", local_search=LOCAL, perturbation=-0.2),
    "no oversampling": lambda: small_run(oversampling=0),
    "no oversampling, local": lambda: small_run(oversampling=0, local_search=LOCAL),
    "skip_align": lambda: small_run(skip_align=True),
    "skip_rotate": lambda: small_run(skip_rotate=True),
    "padding 1.85": lambda: small_run(padding=1.85, do_map=False),
    "premultiplied": lambda: small_run().with_optics(1, ctf_premultiplied=True),
    "premultiplied, no CTF": lambda: small_run(ctf=CtfRules(False, True)).with_optics(
        0, ctf_premultiplied=True
    ),
    "coarse scores": lambda: small_run(score_at_coarse_size=True, max_significants=7),
    "one pass, few samples": lambda: small_run(oversampling=0, max_significants=7),
    "seeded": lambda: small_run(considered_class=np.array([0, 1, 1, 0, 1])),
    "dead class": lambda: dead_class(small_run()),
    "dead class, local": lambda: dead_class(small_run(local_search=LOCAL)),
    "consistent offset prior": lambda: small_run(
        consistent_offset_prior=True, do_norm_correction=False, do_scale_correction=False
    ),
    "aberrations and MTF": aberrated,
    "other images": with_other_images,
}


def dead_class(run: SmallRun) -> SmallRun:
    s = run.settings
    return run.changed(
        pdf_class=np.array([1.0, 0.0]),
        pdf_direction=s.pdf_direction * np.array([[1.0], [0.0]]),
        references=[s.references[0], None],
    )


@cache
def case(name: str) -> tuple[SmallRun, StepResult]:
    run = CASES[name]()
    return run, run.twin()


def deviations(
    found: ExpectationResult, particles: ParticleResults, twin: StepResult
) -> dict[str, float]:
    """Largest deviation of each quantity, relative to the largest value of its kind."""

    def of(result: Any, expected: Any) -> float:
        scale = float(np.max(np.abs(expected), initial=0.0)) or 1.0
        return float(np.max(np.abs(np.asarray(result) - expected))) / scale

    sums = found.parameters
    out = {f.name: of(getattr(sums, f.name), twin.sums[f.name]) for f in fields(sums)}
    out |= {n: of(getattr(particles, n), expected) for n, expected in twin.particles.items()}
    # turns of nothing are rounding alone, but for their cosines
    turns = particles.turned_deg, twin.particles["turned_deg"]
    out["turned_deg"] = of(*(np.cos(np.deg2rad(turned)) for turned in turns))
    volumes = on_host(found)
    data, weight = repaired(volumes)
    twin_data, twin_weight = repaired(
        [replace(b, data=d, weight=w) for b, d, w in
         zip(volumes, twin.data, twin.weight, strict=True)]
    )  # fmt: skip
    return out | {"data": of(data, twin_data), "weight": of(weight, twin_weight)}


def on_host(found: ExpectationResult) -> list[BackprojectionSums]:
    """Volumes of a step, from wherever they are."""
    return [b if isinstance(b, BackprojectionSums) else b.to_host() for b in found.backprojections]


def repaired(volumes: list[BackprojectionSums]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sums with the plane x = 0 complete: rounding decides which mate a point on it goes to."""
    copies = [b.copy() for b in volumes]
    for b in copies:
        b.hermitian_repair()
    return np.stack([b.data for b in copies]), np.stack([b.weight for b in copies])


@pytest.mark.parametrize("name", CASES)
def test_double_precision(session_double: DeviceSession, name: str) -> None:
    run, twin = case(name)
    found, particles = run.run(session_double)
    wrong = {k: v for k, v in deviations(found, particles, twin).items() if not v < 1e-9}
    assert wrong == {}
    assert particles.is_done.all()


@pytest.mark.parametrize("name", CASES)
def test_single_precision(session: DeviceSession, name: str) -> None:
    """Log-weights are differences of sums near 100: an ulp there is 1e-5 of a weight."""
    run, twin = case(name)
    found, particles = run.run(session)
    wrong = {k: v for k, v in deviations(found, particles, twin).items() if not v < 1e-4}
    assert wrong == {}


@pytest.mark.parametrize(
    "name", ["normal", "cross-correlation", "local", "premultiplied", "coarse scores"]
)
def test_kernels_of_graphics_cards(session: DeviceSession, name: str) -> None:
    """Work-groups, matrix tiles and atomics, on whatever device there is."""
    other = DeviceSession(session.info, works_ahead=True)
    other.is_cpu = False
    run, twin = case(name)
    found, particles = run.run(other)
    found.backprojections = [volume.to_host() for volume in found.backprojections]
    wrong = {k: v for k, v in deviations(found, particles, twin).items() if not v < 1e-4}
    assert wrong == {}


def test_the_small_runs_are_worth_comparing() -> None:
    """Posteriors are spread, both classes and all kinds of sums take part."""
    _, twin = case("normal")
    assert (twin.particles["pmax"] < 0.9).all()
    assert (twin.particles["n_significant"] > 2).all()
    assert set(twin.particles["class_number"]) == {0, 1}
    for name, value in twin.sums.items():
        assert np.any(value) != (name == "ctf2"), name
    assert np.any(case("premultiplied")[1].sums["ctf2"])


# ------------------------------------------------------------------ the memory plan


def same_as(
    expected: tuple[ExpectationResult, ParticleResults],
    found: tuple[ExpectationResult, ParticleResults],
) -> None:
    """Order of additions apart, so in double precision to a few times 1e-13."""
    twin = StepResult(
        {f.name: getattr(expected[0].parameters, f.name) for f in fields(expected[0].parameters)},
        np.stack([b.data for b in on_host(expected[0])]),
        np.stack([b.weight for b in on_host(expected[0])]),
        {name: getattr(expected[1], name) for name in case("normal")[1].particles},
    )
    wrong = {k: v for k, v in deviations(*found, twin).items() if not v < 1e-11}
    assert wrong == {}


PLANS: dict[str, dict[str, Any]] = {
    "one particle a batch": {"batch_size": 1},
    "two particles a batch": {"batch_size": 2},
    "one image a part, one orientation a run": {"fine_bytes": 1},
    "runs of fine orientations": {"fine_bytes": 60_000},
    "short runs of orientations": {"columns_per_run": 32, "keep_panels": False, "rows_per_run": 1},
    "all of them": {
        "batch_size": 1, "fine_bytes": 1, "columns_per_run": 32, "keep_panels": False,
        "rows_per_run": 1,
    },
}  # fmt: skip


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change the plans of the following steps."""

    def change(**values: Any) -> None:
        def plan(*args: Any) -> StepPlan:
            made = plan_step(*args)
            batch = made.batch
            if "batch_size" in values:
                batch = replace(batch, batch_size=values["batch_size"])
            others = {k: v for k, v in values.items() if k != "batch_size"}
            return replace(made, batch=batch, **others)

        monkeypatch.setattr("clrelion.expectation.step.plan_step", plan)

    return change


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        *(("noise fill", plan) for plan in PLANS),
        ("cross-correlation", "all of them"),
        ("local", "all of them"),
        ("local", "short runs of orientations"),
        ("no oversampling", "all of them"),
        ("coarse scores", "all of them"),
        ("premultiplied", "runs of fine orientations"),
        ("premultiplied, no CTF", "two particles a batch"),
    ],
)
def test_results_do_not_depend_on_the_plan(
    session_double: DeviceSession, planned: Callable[..., None], name: str, plan: str
) -> None:
    run, _ = case(name)
    expected = run.run(session_double)
    planned(**PLANS[plan])
    same_as(expected, run.run(session_double))


@pytest.mark.parametrize("name", CASES)
def test_working_ahead(
    session_double: DeviceSession, planned: Callable[..., None], name: str
) -> None:
    """The device is given the next batch before the answers to the last one are there."""
    run, twin = case(name)
    planned(batch_size=2, fine_bytes=60_000)
    ahead = DeviceSession(session_double.info, "double", works_ahead=True)
    found, particles = run.run(ahead)
    wrong = {k: v for k, v in deviations(found, particles, twin).items() if not v < 1e-9}
    assert wrong == {}
    assert particles.is_done.all()


def test_memory_that_runs_out_for_the_list_of_significant_samples(
    session_double: DeviceSession, planned: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next batch is on the device already; what is free is given back and it goes on."""
    run, twin = case("normal")
    planned(batch_size=2)
    finish, asked = SignificanceSearch.finish, []

    def scarce(search: SignificanceSearch) -> SignificantSamples:
        asked.append(search)
        if asked.count(search) == 1:
            raise DeviceMemoryError("array of 12 int32: no memory left")
        return finish(search)

    monkeypatch.setattr(SignificanceSearch, "finish", scarce)
    found, particles = run.run(DeviceSession(session_double.info, "double", works_ahead=True))
    wrong = {k: v for k, v in deviations(found, particles, twin).items() if not v < 1e-9}
    assert wrong == {}
    assert len(asked) >= 4


def test_results_do_not_depend_on_the_table_of_fine_slices(
    session_double: DeviceSession, planned: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flat posteriors, so that a table is worth while."""
    run = small_run(sigma2_fudge=60.0)
    made = []
    original = BatchWork._made_table

    def counted(work: BatchWork) -> Any:
        made.append(work)
        return original(work)

    monkeypatch.setattr(BatchWork, "_made_table", counted)
    planned(table_fits=False)
    expected = run.run(session_double)
    assert made == []
    planned(table_fits=True)
    same_as(expected, run.run(session_double))
    assert len(made) == 2


FAILING = [
    (fine_part, "prepare_store"),
    (fine_part, "fine_weights"),
    (fine_part, "list_fine"),
    (batch_work, "find_significant"),
    (batch_work, "dense_differences"),
]


@pytest.mark.parametrize(
    ("module", "where"), FAILING, ids=lambda x: x if isinstance(x, str) else ""
)
def test_memory_that_runs_out_makes_batches_smaller(
    session_double: DeviceSession, monkeypatch: pytest.MonkeyPatch, module: Any, where: str
) -> None:
    """Whatever step fails for more than one image, nothing is lost and nothing counts twice."""
    run, _ = case("normal")
    expected = run.run(session_double)
    original = getattr(module, where)
    n_failed = 0

    def scarce(*args: Any, **kwargs: Any) -> Any:
        nonlocal n_failed
        n = images_of(args)
        if n > 1:
            n_failed += 1
            raise DeviceMemoryError("no memory left")
        return original(*args, **kwargs)

    monkeypatch.setattr(module, where, scarce)
    same_as(expected, run.run(session_double))
    assert n_failed >= 2


def images_of(args: tuple[Any, ...]) -> int:
    """Number of images in the arguments of a step of BatchWork."""
    for arg in args:
        if isinstance(arg, BatchImages):
            return arg.n
        if isinstance(arg, ScoringOperands):
            return int(arg.ctf_power.shape[0])
        if isinstance(arg, SignificantSamples):
            span = next(a for a in args if isinstance(a, slice))
            last = np.maximum(arg.block_start[:-1], span.start)
            return int((np.minimum(arg.block_start[1:], span.stop) > last).sum())
        if isinstance(arg, DeviceSpace):
            return len(arg.n_orientations)
    raise AssertionError(args)


def test_runs_of_fine_orientations_are_made(
    session_double: DeviceSession, planned: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that an image with many significant orientations needs no more than the plan has."""
    n_rows = []
    original = Projector.rows

    def counted(projector: Any, frames: Any, psis: Any, rows: SliceRows, *args: Any) -> Any:
        n_rows.append(rows.n)
        return original(projector, frames, psis, rows, *args)

    monkeypatch.setattr(Projector, "rows", counted)
    run = small_run(sigma2_fudge=60.0)
    planned(table_fits=False, fine_bytes=400_000, keep_panels=False)
    run.run(session_double)
    slice_bytes = 2 * 8 * 80  # complex double, padded list of the smaller images
    assert max(n_rows) * slice_bytes <= 200_000
    assert len(n_rows) > 20


def test_memory_for_not_even_one_image_is_an_error(
    session_double: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scarce(*args: Any) -> Any:
        raise DeviceMemoryError("no memory left")

    monkeypatch.setattr(batch_work, "find_significant", scarce)
    with pytest.raises(DeviceMemoryError):
        case("normal")[0].run(session_double)


# ------------------------------------------------------------------ particles that cannot be used


def test_bad_images_are_left_out(session_double: DeviceSession) -> None:
    """NaN pixels, and pixels so large that no weight is finite."""
    run, _ = case("normal")
    images = {i: image.copy() for i, image in run.images.items()}
    images[1][3, 3] = np.nan
    images[4][:] = 1e37
    good = replace(run, images={i: images[i] for i in (0, 2, 3)})
    session = DeviceSession(session_double.info, "single")
    found, particles = replace(run, images=images).run(session)
    expected = good.run(session)
    assert set(found.skipped) == {1, 4}
    assert found.skipped[1] == NOT_FINITE
    np.testing.assert_array_equal(particles.is_done, [True, False, True, True, False])
    np.testing.assert_allclose(found.parameters.to_vector(), expected[0].parameters.to_vector())
    assert particles.norm_correction[4] == run.table.norm_correction[4]


def test_scales_out_of_range(
    session: DeviceSession, caplog: pytest.LogCaptureFixture
) -> None:
    """A scale above 10000 is an error that names the group, one below 0.001 a warning (E 5.6)."""
    run, _ = case("normal")
    scale = run.settings.scale_correction.copy()
    scale[-1] = 10001.0
    with pytest.raises(NumericalError, match=f"group {run.table.group_names[-1]} is 1e"):
        run.changed(scale_correction=scale).run(session)
    scale[-1] = 1e-4
    run.changed(scale_correction=scale).run(session)
    assert f"group {run.table.group_names[-1]}: intensity scale 0.0001" in caplog.text


# ------------------------------------------------------------------ boxes of other sizes (Q9)


def in_box(box: int, pixel_size: float, session: DeviceSession) -> list[Any]:
    """Posteriors of directions (ln), sums of the volumes, scale, for one particle with this box.

    The image is zero beyond 8 px and the mask out of the way, so that any box holds the same
    information.  All samples count.
    """
    run = small_run(
        particle_diameter_angst=500.0, do_norm_correction=False, oversampling=0,
        consistent_offset_prior=True, adaptive_fraction=1.0, sigma2_fudge=4.0, perturbation=0.0,
    )  # fmt: skip
    geometry = geometry_of(optics_group("only", box, pixel_size), box // 2)
    image = np.zeros((16, 16), dtype=np.float32)
    image[4:12, 4:12] = run.images[0][4:12, 4:12]
    size = round(box * pixel_size / 2.0)
    image = np.pad(image, (size - 16) // 2)
    image = rescale_image(image[None].astype(np.float64), box)[0].astype(np.float32)
    table = particle_table([geometry.optics], [0])
    table.origin_x_angst[:] = table.origin_y_angst[:] = 0.0
    settings = replace(run.settings, geometry=[geometry], sigma2_noise=np.full((1, 9), 2e-3))
    found, _ = SmallRun(settings, table, {0: image}).run(session)
    posterior = found.parameters.pdf_direction[settings.pdf_direction > 0]
    return [
        np.log(posterior),
        sum(b.weight.sum() for b in on_host(found)),
        sum(np.abs(b.data).sum() for b in on_host(found)),
        found.parameters.scale_xa[0] / found.parameters.scale_aa[0],
    ]


def test_a_particle_means_the_same_with_finer_pixels(session_double: DeviceSession) -> None:
    """The same grey values at half the pixel size: the very same coefficients."""
    own, finer = in_box(16, 2.0, session_double), in_box(32, 1.0, session_double)
    for found, expected in zip(finer, own, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_particle_means_the_same_in_a_larger_box(session_double: DeviceSession) -> None:
    """Four times as many pixels, each with a fourth of the signal and half of the noise.

    The discs of pixels differ by their rims, so the agreement is to some per cent, where a wrong
    power of the ratio of the boxes is a factor of two at least.
    """
    own, larger = in_box(16, 2.0, session_double), in_box(32, 2.0, session_double)
    slope = np.polyfit(own[0], larger[0], 1)[0]
    assert np.ptp(own[0]) > 3.0
    assert slope == pytest.approx(1.0, abs=0.15)
    for found, expected in zip(larger[1:], own[1:], strict=True):
        assert found == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize(("box", "pixel_size"), [(16, 2.0), (24, 2.0), (12, 2.0), (24, 1.5)])
def test_white_noise_has_the_same_spectrum_in_any_box(
    session_double: DeviceSession, box: int, pixel_size: float
) -> None:
    """Density of noise power by area, in the model's box: sd^2 (pixel / model pixel)^2 / 2 N^2."""
    run = small_run(oversampling=0, particle_diameter_angst=500.0, do_norm_correction=False)
    geometry = geometry_of(optics_group("only", box, pixel_size), box // 2)
    rng = np.random.default_rng(box)
    images = {i: rng.standard_normal((box, box)).astype(np.float32) for i in range(60)}
    table = particle_table([geometry.optics], [0] * len(images))
    table.origin_x_angst[:] = table.origin_y_angst[:] = 0.0
    references = [replace(r, data=1e-6 * r.data) for r in run.settings.references if r is not None]
    settings = replace(
        run.settings, geometry=[geometry], references=references, skip_align=True,
        sigma2_noise=np.full((1, 9), 2e-3),
    )  # fmt: skip
    found, _ = SmallRun(settings, table, images).run(session_double)
    spectrum = noise_spectra(found.parameters, settings.sigma2_noise)[0]
    highest = min(8, int(8 * box * pixel_size / 32 / geometry.remap))
    counts = pixels_per_shell(16)[1 : highest + 1]
    mean = (spectrum[1 : highest + 1] @ counts) / counts.sum()
    expected = (pixel_size / 2.0) ** 2 / (2 * 16**2)
    # some thousand coefficients
    assert mean == pytest.approx(expected, rel=0.06)


TILES = [(2, 1, False), (7, 5, False), (40, 31, False), (62, 31, True), (62, 62, True)]
"""Planes of the references and of the sums (of 2 x 31), and whether maps are made on the device."""


@pytest.mark.parametrize(
    ("name", "tiles"),
    [
        *(("noise fill", tiles) for tiles in TILES),
        *((name, TILES[1]) for name in ("local", "cross-correlation", "no oversampling")),
    ],
)
def test_results_do_not_depend_on_where_volumes_live(
    session_double: DeviceSession,
    planned: Callable[..., None],
    name: str,
    tiles: tuple[int, int, bool],
) -> None:
    """Tiles of the references and sums, with several parts a batch that go there and back."""
    run, _ = case(name)
    expected = run.run(session_double)
    planned(batch_size=1, fine_bytes=60_000)
    step = run.step(session_double)
    assert step._placement.reference_planes == 62
    references, sums, on_device = tiles
    step._placement = replace(
        step._placement, reference_planes=references, sum_planes=sums, maximizes_on_device=on_device
    )
    found, results = run.results_of(step)
    kind = WaitingSums if on_device else BackprojectionSums
    assert all(isinstance(volume, kind) for volume in found.backprojections)
    if on_device:
        found.backprojections = [volume.to_host() for volume in found.backprojections]
    same_as(expected, (found, results))


@pytest.mark.parametrize(
    ("name", "tiles"), [("noise fill", TILES[0]), ("noise fill", TILES[3]), ("local", TILES[1])]
)
def test_tiles_with_the_kernels_of_graphics_cards(
    session_double: DeviceSession,
    planned: Callable[..., None],
    name: str,
    tiles: tuple[int, int, bool],
) -> None:
    """As above, where CPUs use other kernels; one batch must not meet the tiles of another."""
    card = DeviceSession(session_double.info, "double", works_ahead=True)
    card.is_cpu = False
    run, _ = case(name)
    expected = run.run(card)
    planned(batch_size=1, fine_bytes=60_000)
    step = run.step(card)
    references, sums, on_device = tiles
    step._placement = replace(
        step._placement,
        reference_planes=references,
        sum_planes=sums,
        maximizes_on_device=on_device,
        stays=False,
    )
    found, results = run.results_of(step)
    kind = WaitingSums if on_device else BackprojectionSums
    assert all(isinstance(volume, kind) for volume in found.backprojections)
    same_as(expected, (found, results))
