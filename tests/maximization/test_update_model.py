from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clrelion.fourier.filters import low_pass_map
from clrelion.fourier.shells import pixels_per_shell
from clrelion.maximization import update_model
from clrelion.maximization.spectra import ReconstructionSpectra
from clrelion.maximization.sums import ParameterSums
from tests.reference.phantoms import blob_map
from tests.reference.relion_programs import read_model


def filled_sums() -> ParameterSums:
    sums = ParameterSums.zeros(2, 4, 2, 4, 16)
    sums.pdf_class += [30.0, 10.0]
    sums.pdf_direction += [[12, 6, 6, 6], [4, 3, 2, 1]]
    sums.sigma2_offset_sum = 800.0
    sums.norm_sum = 44.0
    sums.pmax_sum = 20.0
    return sums


def test_priors() -> None:
    sums = filled_sums()
    np.testing.assert_allclose(update_model.class_priors(sums, [0.5, 0.5]), [0.75, 0.25])
    directions = update_model.direction_priors(sums, np.zeros((2, 4)))
    np.testing.assert_allclose(directions.sum(axis=1), [0.75, 0.25])
    np.testing.assert_allclose(directions[0], [0.3, 0.15, 0.15, 0.15])


def test_scalars() -> None:
    sums = filled_sums()
    assert update_model.offset_variance(sums, 100.0) == pytest.approx(10.0)
    assert update_model.offset_variance(sums, 100.0, minimum=25.0) == 25.0
    assert update_model.average_norm_correction(sums, 1.0) == pytest.approx(1.1)
    assert update_model.mean_pmax(sums) == pytest.approx(0.5)


def test_nothing_changes_without_particles() -> None:
    sums = ParameterSums.zeros(2, 4, 1, 4, 16)
    np.testing.assert_array_equal(update_model.class_priors(sums, [0.6, 0.4]), [0.6, 0.4])
    previous = np.arange(8.0).reshape(2, 4)
    np.testing.assert_array_equal(update_model.direction_priors(sums, previous), previous)
    assert update_model.offset_variance(sums, 100.0) == 100.0
    assert update_model.average_norm_correction(sums, 1.3) == 1.3
    noise = np.full((1, 9), 3.0)
    np.testing.assert_array_equal(update_model.noise_spectra(sums, noise), noise)
    np.testing.assert_array_equal(update_model.scale_corrections(sums, [0, 0, 0, 0]), 1.0)


def test_scales_are_clamped_and_have_a_weighted_mean_of_one() -> None:
    sums = filled_sums()
    sums.scale_xa += [2.0, 100.0, 0.01, 5.0]
    sums.scale_aa += [1.0, 1.0, 1.0, 0.0]
    counts = np.array([10, 20, 5, 5])
    # raw 2, 100, 0.01, 1; sorted[2] = 2
    raw = np.array([2.0, 10.0, 0.4, 1.0])
    expected = raw / ((counts * raw).sum() / counts.sum())
    found = update_model.scale_corrections(sums, counts)
    np.testing.assert_allclose(found, expected)
    assert (counts * found).sum() / counts.sum() == pytest.approx(1.0)
    single = ParameterSums.zeros(1, 1, 1, 1, 16)
    single.scale_xa += 3.0
    single.scale_aa += 1.0
    np.testing.assert_array_equal(update_model.scale_corrections(single, [9]), [1.0])


def test_noise_spectra() -> None:
    sums = filled_sums()
    counts = pixels_per_shell(16)
    sums.sumw_group += [20.0, 0.0]
    level = np.array([3.0, 2.0, 1.0, 1.0, 0.0, 0.0, 5.0, 1e-16, 4.0])
    sums.sigma2_noise[0] = level * 2.0 * 20.0 * counts
    previous = np.full((2, 9), 7.0)
    found = update_model.noise_spectra(sums, previous)
    np.testing.assert_allclose(found[0], [3, 2, 1, 1, 1, 1, 5, 5, 4])
    np.testing.assert_array_equal(found[1], 7.0)
    sums.sigma2_noise[0, 0] = 0.0
    found = update_model.noise_spectra(sums, previous, [True, False])
    np.testing.assert_allclose(found[0], [1e-15, 2, 1, 1, 1, 1, 5, 5, 4])


def test_priors_and_directions_of_relions_files_sum_to_one(shared: Path) -> None:
    blocks = read_model(shared / "data/steps/pol/K2/run_it003_model.star")
    pdf = blocks["model_classes"]["rlnClassDistribution"].to_numpy(float)
    sums = ParameterSums.zeros(2, 1, 1, 1, 16)
    sums.pdf_class += 140.0 * pdf
    np.testing.assert_allclose(update_model.class_priors(sums, pdf), pdf, atol=1e-6)


def test_low_pass_after_the_first_iteration() -> None:
    ones = np.ones(17)
    spectra = ReconstructionSpectra(ones, ones, ones, ones, 1.0)
    volume = blob_map(32)
    found = low_pass_map(volume, 2.0, 12.0)
    changed = update_model.low_pass_spectra(spectra, 32, 2.0, 12.0)
    ramp = np.array([1, 1, 1, 1, 1, 0.5 - 0.5 * np.cos(np.pi * (16 / 3 + 1 - 5) / 2)])
    np.testing.assert_allclose(changed.tau2[:6], ramp**2)
    np.testing.assert_allclose(changed.data_vs_prior[:6], ramp**2)
    np.testing.assert_array_equal(changed.tau2[7:], 0.0)
    np.testing.assert_array_equal(changed.sigma2, 1.0)
    assert np.abs(np.fft.rfftn(found))[0, 0, 8:].max() < 1e-9
