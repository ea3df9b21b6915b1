"""References and initial spectra: against RELION's it000 files, and by construction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import starfile

from clrelion.errors import ImageError, NumericalError, OptionsError
from clrelion.fourier.filters import low_pass_map
from clrelion.refinement.initialise import (
    NoiseSpectrumEstimator,
    default_particle_diameter_angst,
    initial_spectra,
    prepare_reference,
    repair_noise_spectrum,
)


def read_map(path: Path) -> tuple[np.ndarray[Any, Any], float]:
    with mrcfile.open(path, permissive=True) as file:
        return np.array(file.data), float(file.voxel_size.x)


def read_model(path: Path) -> dict[str, Any]:
    return dict(starfile.read(path, always_dict=True))


@pytest.mark.parametrize(("run", "do_zero_mask"), [("base", True), ("nomask", False)])
def test_noise_spectrum_of_relion(shared: Path, run: str, do_zero_mask: bool) -> None:
    images, _ = read_map(shared / "data" / "betagal80" / "particles.mrcs")
    estimator = NoiseSpectrumEstimator(80, 3.415102, [3.415102], 200.0, 5, do_zero_mask)
    for start in range(0, len(images), 20):
        estimator.add(images[start : start + 20], 0)
    model = read_model(shared / "data" / "steps" / "bg" / run / "run_it000_model.star")
    written = model["model_optics_group_1"]["rlnSigma2Noise"].to_numpy()
    np.testing.assert_allclose(estimator.finish()[0], written, rtol=4e-7)


def check_spectra(volume: Any, model: dict[str, Any], n_particles: int, tau2_fudge: float) -> None:
    sigma2 = model["model_optics_group_1"]["rlnSigma2Noise"].to_numpy()
    tau2, data_vs_prior = initial_spectra(
        volume, sigma2, n_particles=n_particles, class_probability=1.0, tau2_fudge=tau2_fudge
    )
    written = model["model_class_1"]
    # Beyond the low-pass filter there is only rounding; the file has six decimals.
    shells = written["rlnReferenceTau2"].to_numpy() > 1e-9
    np.testing.assert_allclose(
        tau2[shells], written["rlnReferenceTau2"][shells], rtol=1e-6, atol=6e-7
    )
    np.testing.assert_allclose(data_vs_prior[shells], written["rlnSsnrMap"][shells], rtol=6e-7)
    assert shells.sum() >= 6


def test_initial_spectra_of_relion(shared: Path) -> None:
    data = shared / "data"
    volume, pixel_size = read_map(data / "betagal80" / "ref.mrc")
    reference = prepare_reference(
        volume, pixel_size, image_box_px=80, image_pixel_size_angst=3.415102
    )
    np.testing.assert_array_equal(reference.map, volume)
    low_passed = low_pass_map(reference.map, reference.pixel_size_angst, 50.0)
    check_spectra(low_passed, read_model(data / "steps/bg/base/run_it000_model.star"), 92, 4.0)
    volume, _ = read_map(data / "steps/pol/base/run_it000_class001.mrc")
    check_spectra(volume, read_model(data / "steps/pol/base/run_it000_model.star"), 140, 4.0)


def test_white_noise_has_half_the_variance_per_component() -> None:
    rng = np.random.default_rng(1)
    estimator = NoiseSpectrumEstimator(100, 2.0, [2.0], 1000.0, 5, do_zero_mask=False)
    estimator.add(rng.standard_normal((300, 100, 100)), 0)
    # E Appendix D: 1 / (2 N^2), less 1/300 for the average image.
    sigma2 = estimator.finish()[0]
    np.testing.assert_allclose(sigma2[3:].mean(), 5.0e-5 * (1 - 1 / 300), rtol=0.005)
    np.testing.assert_allclose(sigma2[10:], 5.0e-5, rtol=0.05)


def test_noise_is_kept_per_optics_group_and_limited() -> None:
    rng = np.random.default_rng(2)
    quiet, loud = rng.standard_normal((2, 40, 32, 32)) * np.array([1.0, 3.0])[:, None, None, None]
    estimator = NoiseSpectrumEstimator(32, 2.0, [2.0, 2.0, 2.0], 50.0, 5, False, 25)
    estimator.add(quiet, 0)
    assert estimator.remaining(0) == 0
    assert estimator.remaining(2) == 25
    estimator.add(loud[:10], 2)
    estimator.add(loud[10:25], 2)
    estimator.add(np.full((3, 32, 32), np.nan), 0)  # beyond the limit: not looked at
    sigma2 = estimator.finish()
    assert sigma2.shape == (3, 17)
    assert not sigma2[1].any()
    used = np.concatenate([quiet[:25], loud[:25]])
    average = np.abs(np.fft.rfft2(used.mean(axis=0)) / 32**2) ** 2
    power = np.mean(np.abs(np.fft.rfft2(loud[:25]) / 32**2) ** 2, axis=0)
    kx, ky = np.meshgrid(np.fft.rfftfreq(32, 1 / 32), np.fft.fftfreq(32, 1 / 32))
    in_shell = np.floor(np.hypot(kx, ky) + 0.5) == 7
    expected = 0.5 * (power[in_shell].mean() - average[in_shell].mean())
    assert sigma2[2, 7] == pytest.approx(expected, rel=1e-12)


def test_noise_of_other_boxes_and_pixels() -> None:
    """Fourier rescaling keeps the amplitude of the frequencies that both boxes have."""
    rng = np.random.default_rng(3)
    images = rng.standard_normal((60, 48, 48))
    fine = NoiseSpectrumEstimator(24, 4.0, [2.0], 1000.0, 5, False)
    fine.add(images, 0)
    same = NoiseSpectrumEstimator(48, 2.0, [2.0], 1000.0, 5, False)
    same.add(images, 0)
    np.testing.assert_allclose(fine.finish()[0, :11], same.finish()[0, :11], rtol=1e-9)
    # 48 * 2 / 4.2 rounds to 23, made even upwards
    uneven = NoiseSpectrumEstimator(24, 4.2, [2.0], 1000.0, 5, False)
    uneven.add(images, 0)
    np.testing.assert_array_equal(uneven.finish(), fine.finish())
    # Finer model: the shells without data take the last value before them.
    coarse = NoiseSpectrumEstimator(96, 1.0, [2.0], 1000.0, 5, False)
    coarse.add(images, 0)
    sigma2 = coarse.finish()[0]
    np.testing.assert_allclose(sigma2[:20], same.finish()[0, :20], rtol=1e-9)
    assert np.all(sigma2 > 0)


def test_noise_of_smaller_boxes_is_that_of_a_full_one() -> None:
    """The zeros around them hold none (E Q9)."""
    images = np.random.default_rng(3).standard_normal((200, 24, 24))
    estimator = NoiseSpectrumEstimator(32, 2.0, [2.0], 1000.0, 5, False)
    estimator.add(images, 0)
    assert estimator.finish()[0, 3:].mean() == pytest.approx(1 / (2 * 32**2), rel=0.03)


def test_bad_images_are_refused() -> None:
    estimator = NoiseSpectrumEstimator(16, 2.0, [2.0], 20.0, 2, True)
    with pytest.raises(NumericalError, match="no image"):
        estimator.finish()
    images = np.ones((2, 16, 16))
    estimator.add(images, 0)
    with pytest.raises(NumericalError, match="do not differ"):
        estimator.finish()
    images[1, 3, 4] = np.inf
    with pytest.raises(NumericalError, match="optics group 1"):
        estimator.add(images, 0)


def test_repair() -> None:
    repaired = repair_noise_spectrum([-1.0, 0.0, 3.0, -2.0, -2.0, 5.0, 0.0])
    np.testing.assert_array_equal(repaired, [3.0, 3.0, 3.0, 3.0, 3.0, 5.0, 5.0])
    np.testing.assert_array_equal(repair_noise_spectrum([-1.0, 0.0]), [-1.0, 0.0])


def test_initial_spectra_follow_their_definition() -> None:
    rng = np.random.default_rng(4)
    volume = rng.standard_normal((16, 16, 16))
    sigma2 = np.array([np.full(9, 2.0), np.zeros(9), np.full(9, 4.0)])
    options: dict[str, Any] = {"n_particles": 30, "class_probability": 0.5, "tau2_fudge": 2.0}
    tau2, data_vs_prior = initial_spectra(volume, sigma2, **options)
    # White noise: <|F|^2> = 1/16^3, tau2 = 2 * 16^2 / 2 / 16^3.
    np.testing.assert_allclose(tau2[3:], 1 / 16, rtol=0.2)
    np.testing.assert_allclose(data_vs_prior[0], 15 / 3 * tau2[0])
    np.testing.assert_allclose(data_vs_prior[5], 15 / 3 * tau2[5] / 10)
    sigma2[0, 3] = sigma2[2, 3] = 0.0
    with pytest.raises(OptionsError, match="--sigma"):
        initial_spectra(volume, sigma2, **options)


def gaussian(size: int, pixel_size: float, sigma: float = 12.0) -> np.ndarray[Any, Any]:
    axis = (np.arange(size) - size // 2) * pixel_size
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    blob = np.exp(-((x - 6) ** 2 + y**2 + (z + 9) ** 2) / (2 * sigma**2))
    return np.asarray(blob, dtype=np.float64)


def test_reference_is_rescaled_and_windowed() -> None:
    reference = prepare_reference(
        gaussian(60, 3.0).astype(np.float32),
        3.0,
        image_box_px=48,
        image_pixel_size_angst=4.1,
        trust_ref_size=True,
    )
    # rnd(60 * 3 / 4.1) = 44, even
    assert reference.pixel_size_angst == pytest.approx(180 / 44)
    assert reference.ori_size == 48
    assert reference.map.dtype == np.float64
    expected = gaussian(48, 180 / 44)
    inside = slice(4, 44)
    block = (inside, inside, inside)
    np.testing.assert_allclose(reference.map[block], expected[block], atol=2e-3)
    assert not reference.map[:2].any()


def test_reference_size_is_made_even_downwards() -> None:
    reference = prepare_reference(
        gaussian(60, 3.0), 3.0, image_box_px=60, image_pixel_size_angst=4.0, trust_ref_size=True
    )
    assert reference.pixel_size_angst == pytest.approx(180 / 44)  # rnd(45) is odd
    windowed = prepare_reference(
        gaussian(60, 3.0), 3.0, image_box_px=48, image_pixel_size_angst=3.0, trust_ref_size=True
    )
    assert windowed.pixel_size_angst == 3.0
    np.testing.assert_array_equal(windowed.map, gaussian(60, 3.0)[6:54, 6:54, 6:54])


def test_reference_errors_and_override() -> None:
    volume = gaussian(32, 3.0)

    def prepare(**options: Any) -> Any:
        arguments = {"image_box_px": 32, "image_pixel_size_angst": 3.0, "name": "ref.mrc"}
        data = options.pop("data", volume)
        return prepare_reference(data, options.pop("header", 3.0), **{**arguments, **options})

    assert prepare(header=3.0009).pixel_size_angst == 3.0009
    assert prepare(header=1.0, ref_angpix_angst=3.0).pixel_size_angst == 3.0
    for options, words in (
        ({"header": 3.0011}, r"ref\.mrc.*--trust_ref_size"),
        ({"image_box_px": 48}, "--trust_ref_size"),
        ({"header": 0.0}, "--ref_angpix"),
        ({"data": volume[:30]}, "cube"),
        ({"data": volume[:31, :31, :31]}, "even"),
        ({"data": np.where(volume > 0.5, np.nan, volume)}, "NaN"),
    ):
        with pytest.raises(ImageError, match=words):
            prepare(**options)


def test_default_diameter() -> None:
    assert default_particle_diameter_angst(100, 2.0, 5.0) == 190.0
