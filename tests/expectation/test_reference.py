from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clrelion.errors import NumericalError
from clrelion.expectation.reference import reference_transform
from clrelion.fourier.filters import low_pass_map, shell_low_pass_factors
from clrelion.fourier.transforms import centre_half_transform, inverse_2d
from clrelion.orientations.euler import euler_matrix
from tests.reference.phantoms import blob_map
from tests.reference.relion_programs import (
    assert_as_written,
    read_model,
    read_model_spectra,
    read_mrc,
    run_relion,
    write_mrc,
)
from tests.reference.slices import project


def test_storage() -> None:
    volume = blob_map(16)
    reference = reference_transform(volume, 2.0, 5)
    assert reference.padded_radius == 10
    assert reference.data.shape == (23, 23, 12)
    assert reference.data.dtype == np.complex128
    assert reference.padding_factor == 2.0
    # the origin holds the transform of a projection divided by N^2
    corrected = volume.copy()
    assert reference.data[11, 11, 0].imag == 0.0
    assert reference.data[11, 11, 0].real == pytest.approx(corrected.sum() / 16**2, rel=0.1)
    k = np.arange(-11, 12)
    outside = k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(12) ** 2 > 100
    assert np.all(reference.data[outside] == 0)
    assert np.all(reference.data[~outside] != 0)


def test_padding_is_evaluated_after_evening() -> None:
    reference = reference_transform(blob_map(16), 1.85, 8)
    assert reference.padding_factor == 30 / 16
    assert reference.padded_radius == 15


@pytest.mark.parametrize("r_max", [8, 6])
def test_power_spectrum_is_the_shell_mean_of_the_stored_sphere(r_max: int) -> None:
    reference = reference_transform(blob_map(16), 2.0, r_max)
    edge = reference.padded_radius + 1
    sums, counts = np.zeros(9), np.zeros(9)
    for z in range(-edge, edge + 1):
        for y in range(-edge, edge + 1):
            for x in range(edge + 1):
                squared = x * x + y * y + z * z
                # at r_max = N/2 the frequencies -N_p/2 do not exist
                if squared <= (2 * r_max) ** 2 and min(y, z) > -16:
                    shell = int(np.sqrt(squared) / 2 + 0.5)
                    sums[shell] += 0.5 * np.abs(reference.data[z + edge, y + edge, x]) ** 2
                    counts[shell] += 1
    expected = np.divide(sums, counts, out=np.zeros(9), where=counts > 0)
    np.testing.assert_allclose(reference.power_spectrum, expected, rtol=1e-12)


def test_single_precision_agrees() -> None:
    volume = blob_map(24)
    double = reference_transform(volume, 2.0, 12)
    single = reference_transform(volume, 2.0, 12, precision="single")
    assert single.data.dtype == np.complex64
    scale = np.abs(double.data).max()
    assert np.abs(single.data - double.data).max() < 1e-6 * scale
    np.testing.assert_allclose(single.power_spectrum, double.power_spectrum, rtol=1e-3)


def test_strict_low_resolution_limit_is_applied_after_the_spectrum() -> None:
    volume = blob_map(16)
    plain = reference_transform(volume, 2.0, 8)
    strict = reference_transform(volume, 2.0, 8, first_shell=3)
    np.testing.assert_array_equal(plain.power_spectrum, strict.power_spectrum)
    k = np.arange(-17, 18)
    squared = k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(18) ** 2
    assert np.all(strict.data[squared <= 36] == 0)
    np.testing.assert_array_equal(strict.data[squared > 36], plain.data[squared > 36])


def test_the_map_is_not_changed_and_must_be_finite() -> None:
    volume = blob_map(16)
    before = volume.copy()
    reference_transform(volume, 2.0, 8)
    np.testing.assert_array_equal(volume, before)
    volume[3, 3, 3] = np.nan
    with pytest.raises(NumericalError, match="NaN"):
        reference_transform(volume, 2.0, 8)


@pytest.mark.parametrize("padding", [2, 1])
def test_slices_equal_relion_project(tmp_path: Path, padding: int) -> None:
    volume = write_mrc(tmp_path / "m.mrc", blob_map(32), 3.0)
    run_relion(
        "relion_project",
        f"--i m.mrc --o p.mrc --angpix 3 --rot 30 --tilt 40 --psi 50 --pad {padding}",
        tmp_path,
    )
    expected = read_mrc(tmp_path / "p.mrc").squeeze()
    reference = reference_transform(volume, float(padding), 16)
    matrix = np.asarray(euler_matrix(30.0, 40.0, 50.0)).reshape(1, 3, 3)
    found = inverse_2d(centre_half_transform(project(reference, matrix, 32)))[0]
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())


@pytest.mark.parametrize("iteration", [1, 2, 3])
def test_power_spectrum_equals_relions_tau2(shared: Path, iteration: int) -> None:
    run = shared / "data/steps/pol/base"
    model = run / f"run_it{iteration:03d}_model.star"
    general = read_model(model)["model_general"]
    volume = read_mrc(run / f"run_it{iteration - 1:03d}_class001.mrc")
    r_max = int(general["rlnCurrentImageSize"]) // 2
    tau2 = reference_transform(volume, 1.85, r_max).power_spectrum
    if iteration == 1:
        tau2 = tau2 * shell_low_pass_factors(64, 4.0, 50.0) ** 2
    expected = read_model_spectra(model)["ReferenceTau2"]
    assert_as_written(tau2, expected)


@pytest.mark.parametrize("i_class", [1, 2])
def test_first_tau2_of_two_classes(shared: Path, i_class: int) -> None:
    # the first reference is that of pol/base, as RELION wrote it low-passed
    steps = shared / "data/steps/pol"
    if i_class == 1:
        volume = read_mrc(steps / "base/run_it000_class001.mrc")
    else:
        volume = low_pass_map(read_mrc(steps / "ref02.mrc"), 4.0, 50.0)
    tau2 = reference_transform(volume, 1.85, 15).power_spectrum
    tau2 = tau2 * shell_low_pass_factors(64, 4.0, 50.0) ** 2
    expected = read_model_spectra(steps / "K2/run_it001_model.star", i_class)["ReferenceTau2"]
    assert_as_written(tau2, expected)


def test_first_tau2_of_the_real_particles(shared: Path) -> None:
    volume = read_mrc(shared / "data/betagal80/ref.mrc")
    model = shared / "data/steps/bg/base/run_it001_model.star"
    general = read_model(model)["model_general"]
    pixel = float(general["rlnPixelSize"])
    r_max = int(general["rlnCurrentImageSize"]) // 2
    tau2 = reference_transform(low_pass_map(volume, pixel, 50.0), 1.85, r_max).power_spectrum
    tau2 = tau2 * shell_low_pass_factors(80, pixel, 50.0) ** 2
    expected = read_model_spectra(model)["ReferenceTau2"]
    assert_as_written(tau2, expected)
