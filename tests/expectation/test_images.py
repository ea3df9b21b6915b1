"""getImg against NumPy in double precision, and its parts (specification E 5.2, 2.10)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.device.session import DeviceSession
from clrelion.expectation.detector_response import DetectorResponse
from clrelion.expectation.device_images import DeviceImages
from clrelion.expectation.images import BatchImages, integer_offsets
from clrelion.expectation.noise_fill import NoiseFill
from clrelion.expectation.optics_setup import OpticsSetup
from clrelion.fourier.shells import half_transform_shells
from clrelion.io.mtf import MtfCurve
from tests.expectation.small_run import SmallRun, small_run
from tests.reference.expectation_step import Step


def setup_of(session: DeviceSession, run: SmallRun, group: int) -> OpticsSetup:
    return OpticsSetup(session, run.settings, group, 2.0)


def prepared(session: DeviceSession, run: SmallRun, group: int) -> tuple[OpticsSetup, BatchImages]:
    setup = setup_of(session, run, group)
    ids = np.flatnonzero(run.table.optics_group == group)
    images = np.stack([run.images[i] for i in ids.tolist()])
    others = None
    if run.reconstruct_images is not None:
        others = np.stack([run.reconstruct_images[i] for i in ids.tolist()])
    return setup, setup.preparation.prepare(ids, images, run.table, others)


def listed(setup: OpticsSetup, transform: NDArray[Any]) -> NDArray[Any]:
    """Listed pixels of a half-transform of size s_g."""
    return transform[setup.pixels.ky % setup.pixels.size, setup.pixels.kx]


def with_mtf(run: SmallRun) -> SmallRun:
    curves = [MtfCurve(np.array([0.0, 0.3]), np.array([1.0, low])) for low in (0.3, 0.6)]
    geometry = [
        replace(g, response=DetectorResponse(own, curves))
        for g, own in zip(run.settings.geometry, curves, strict=True)
    ]
    return run.changed(geometry=geometry)


RUNS: dict[str, Any] = {
    "background": lambda: small_run(),
    "noise": lambda: small_run(zero_mask=False),
    "MTF": lambda: with_mtf(small_run()),
    "other images": lambda: replace(
        (run := small_run()), reconstruct_images={i: 2 * x for i, x in run.images.items()}
    ),
    "premultiplied": lambda: small_run().with_optics(0, ctf_premultiplied=True),
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("group", [0, 1])
def test_prepared_images(session_double: DeviceSession, name: str, group: int) -> None:
    run = RUNS[name]()
    setup, batch = prepared(session_double, run, group)
    step = Step(run.settings, run.table, run.images, run.noise(), run.reconstruct_images)
    host = {
        field: session_double.to_host(getattr(batch, field))
        for field in ("image_ft", "unmasked_ft", "ctf", "scale_d")
    }
    spectrum, edge = batch.power.spectrum_and_edge()
    window_power = batch.power.window()
    for place, i in enumerate(batch.ids.tolist()):
        p = step.prepare(i)
        for field, expected in (
            ("image_ft", p.masked), ("unmasked_ft", p.unmasked), ("ctf", p.ctf),
        ):  # fmt: skip
            np.testing.assert_allclose(host[field][place], listed(setup, expected), atol=1e-13)
        np.testing.assert_array_equal(batch.offset_px[place], p.offset)
        np.testing.assert_allclose(batch.prior_offset_px[place], p.prior_offset)
        assert batch.scale[place] == pytest.approx(p.q / setup.geometry.remap**2)
        half = setup.geometry.image_size // 2
        window = p.masked
        np.testing.assert_allclose(window_power[place], (np.abs(window) ** 2).sum())
        beyond = slice(half + 1, None)
        np.testing.assert_allclose(spectrum[place][beyond], p.shell_power[beyond])
        power = np.zeros(half + 1)
        pixels, values = setup.pixels, np.abs(listed(setup, window)) ** 2
        np.add.at(power, pixels.shell, values)
        # the list lacks pixels of the last shell beyond the sphere
        np.testing.assert_allclose(spectrum[place][:half], power[:half])
        assert spectrum[place][half] == pytest.approx(edge[place])
    np.testing.assert_allclose(host["scale_d"], batch.scale)
    if name == "premultiplied":
        assert setup.pixels.n_used < setup.pixels.n or group == 1


def test_images_in_several_buffers(session: DeviceSession) -> None:
    """They are found wherever they lie, in whatever order."""
    run = small_run()
    setup, expected = prepared(session, run, 0)
    ids = np.flatnonzero(run.table.optics_group == 0)
    assert len(ids) == 3
    number, place = np.array([7, -2, 7], dtype=np.int32), np.array([1, 2, 0], dtype=np.int32)
    buffers = {}
    for i in (-2, 7, 8):
        held = np.full((3, 16, 16), np.nan, dtype=np.float32)
        for k in np.flatnonzero(number == i).tolist():
            held[place[k]] = run.images[int(ids[k])]
        buffers[i] = session.to_device(held)
    images = DeviceImages(ids, buffers, number, place)
    found = setup.preparation.prepare(ids, images, run.table)
    for name in ("image_ft", "unmasked_ft"):
        np.testing.assert_array_equal(
            session.to_host(getattr(found, name)), session.to_host(getattr(expected, name))
        )


def test_a_part_is_the_same_images(session: DeviceSession) -> None:
    run = small_run()
    _, batch = prepared(session, run, 0)
    assert batch.part(session, 0, 3) is batch
    part = batch.part(session, 1, 3)
    assert part.n == 2
    for name in ("image_ft", "unmasked_ft", "ctf", "scale_d"):
        whole = session.to_host(getattr(batch, name))
        np.testing.assert_array_equal(session.to_host(getattr(part, name)), whole[1:3])
    assert part.scoring_ctf is part.ctf
    for name in ("ids", "scale", "offset_px"):
        np.testing.assert_array_equal(getattr(part, name), getattr(batch, name)[1:3])
    assert part.power.part(1, 2).images == slice(2, 3)
    for k in range(2):
        whole = batch.power.spectrum_and_edge()[k]
        np.testing.assert_array_equal(part.power.spectrum_and_edge()[k], whole[1:3])
    np.testing.assert_array_equal(part.power.window(), batch.power.window()[1:3])


@pytest.mark.parametrize(
    ("angst", "pixel_size", "expected"),
    [
        ((2.0, -2.0), 4.0, (1, -1)),  # exact halves round away from zero
        ((1.999, -1.999), 4.0, (0, 0)),
        ((1.99999999, 2.00000001), 4.0, (1, 1)),  # 6 decimals of a file do not decide
        ((0.0, 5.1), 1.7, (0, 3)),
        ((-0.7, 0.8), 1.5, (0, 1)),
    ],
)
def test_integer_offsets(
    angst: tuple[float, float], pixel_size: float, expected: tuple[int, int]
) -> None:
    found = integer_offsets(np.array([angst]), pixel_size)
    np.testing.assert_array_equal(found, [expected])


# ------------------------------------------------------------------ noise


def test_noise_images_have_the_spectrum_and_depend_on_the_particle_alone() -> None:
    n, remap = 24, 1.5
    variance = np.linspace(2.0, 0.5, 9)
    fill = NoiseFill(n, remap, variance, random_seed=3)
    ids = np.arange(400)
    images = fill.images(ids)
    np.testing.assert_array_equal(fill.images(ids[[7, 2]]), images[[7, 2]])
    assert not np.allclose(NoiseFill(n, remap, variance, 4).images(ids[:1]), images[0])
    rescaled = NoiseFill(n, remap, 4.0 * variance, 3).images(ids[:3])
    np.testing.assert_allclose(rescaled, 2.0 * images[:3])
    power = (np.abs(np.fft.rfft2(images) / n**2) ** 2).mean(axis=0)
    shells = half_transform_shells(n)
    targets = [0, 2, 3, 5, 6, 8, 9, 11, 12]  # rnd(1.5 i)
    inner = (slice(1, n // 2), slice(1, n // 2))  # neither real nor doubled
    for shell in range(1, 12):
        mean = power[inner][shells[inner] == shell].mean()
        if shell in targets:
            expected = 2.0 * variance[targets.index(shell)]
            assert mean == pytest.approx(expected, rel=0.2)
        else:
            assert mean < 1e-25


# ------------------------------------------------------------------ MTF


def test_response_factors() -> None:
    """Mean of the groups' MTF divided by one's own."""
    curves = [
        MtfCurve(np.array([0.0, 0.1, 0.2]), np.array([1.0, 0.8, 0.4])),
        MtfCurve(np.array([0.0, 0.2]), np.array([1.0, 0.2])),
    ]
    frequency = np.array([0.0, 0.05, 0.15, 0.2, 0.7])
    own = np.array([1.0, 0.9, 0.6, 0.4, 0.4])
    other = np.array([1.0, 0.8, 0.4, 0.2, 0.2])
    found = [DetectorResponse(c, curves).factors(frequency) for c in curves]
    np.testing.assert_allclose(found[0], (own + other) / 2 / own)
    np.testing.assert_allclose(found[1], (own + other) / 2 / other)


# ------------------------------------------------------------------ log-likelihood


def test_log_likelihoods(session_double: DeviceSession) -> None:
    """From squared differences that leave out what the reference has no part in."""
    run = small_run()
    setup, batch = prepared(session_double, run, 1)
    s, g = run.settings, setup.geometry
    maximum, total = np.array([-3.0, 5.0]), np.array([1.5, 7.0])
    spectrum, edge = batch.power.spectrum_and_edge()
    inner, outer = setup.power_sums(spectrum.astype(np.float64))
    found = setup.log_likelihoods(inner, edge, outer, maximum, total)
    step = Step(s, run.table, run.images, run.noise())
    for place, i in enumerate(batch.ids.tolist()):
        p = step.prepare(i)
        w = step.inverse_sigma2(g, 1, g.image_size)
        left_out = 0.5 * (w * np.abs(p.masked) ** 2).sum()
        left_out += p.shell_power[g.image_size // 2 + 1 :].sum() / 2
        expected = np.log(total[place]) + maximum[place] - left_out - step.noise_constant(g, 1)
        assert found[place] == pytest.approx(expected, rel=1e-12)
    correlating = run.changed(do_cross_correlation=True)
    setup = setup_of(session_double, correlating, 1)
    np.testing.assert_array_equal(
        setup.log_likelihoods(inner, edge, outer, maximum, total), maximum
    )
