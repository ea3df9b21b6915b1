from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clrelion.fourier import ctf
from clrelion.fourier.transforms import centre_half_transform, forward_2d
from tests.reference.relion_programs import read_mrc, run_relion, write_mrc, write_star

FIRST: dict[str, Any] = {
    "voltage_kv": 300.0,
    "spherical_aberration_mm": 2.7,
    "amplitude_contrast": 0.1,
    "defocus_u_angst": 15000.0,
    "defocus_v_angst": 14000.0,
    "defocus_angle_deg": 30.0,
}
SECOND: dict[str, Any] = {
    "voltage_kv": 200.0,
    "spherical_aberration_mm": 2.0,
    "amplitude_contrast": 0.07,
    "defocus_u_angst": 20000.0,
    "defocus_v_angst": 18000.0,
    "defocus_angle_deg": -70.0,
}


def value_at(u: float, v: float, parameters: dict[str, Any]) -> float:
    return float(ctf.contrast_transfer(np.array(u), np.array(v), **parameters))


@pytest.mark.parametrize(
    ("u", "v", "parameters", "expected"),
    [
        (0.0, 0.0, FIRST, 0.1),
        (0.02, 0.0, FIRST, 0.448453),
        (0.05, 0.02, FIRST, 0.349745),
        (-0.05, 0.02, FIRST, 0.447911),
        (0.1, -0.2, FIRST, -0.982753),
        (
            0.1,
            -0.2,
            FIRST | {"phase_shift_deg": 90.0, "bfactor": 50.0, "scale_factor": 1.1},
            0.108881,
        ),
        (0.03, 0.0, SECOND, 0.978413),
    ],
)
def test_table_of_the_specification(
    u: float, v: float, parameters: dict[str, Any], expected: float
) -> None:
    assert value_at(u, v, parameters) == pytest.approx(expected, abs=6e-7)


def test_wavelengths() -> None:
    expected = [0.0370146, 0.0334923, 0.0250795, 0.0196876]
    found = ctf.electron_wavelength_angst(np.array([100.0, 120.0, 200.0, 300.0]))
    np.testing.assert_allclose(found, expected, atol=6e-8)


def test_batches_broadcast() -> None:
    u, v = ctf.frequency_grid(16, 16, 2.0)
    defocus = np.array([10000.0, 15000.0])[:, None, None]
    batch = ctf.contrast_transfer(u, v, **(FIRST | {"defocus_u_angst": defocus}))
    assert batch.shape == (2, 16, 9)
    np.testing.assert_array_equal(batch[1], ctf.contrast_transfer(u, v, **FIRST))


def test_variants() -> None:
    u, v = ctf.frequency_grid(64, 64, 1.5)
    plain = ctf.contrast_transfer(u, v, **FIRST)
    assert plain.min() < -0.9
    flipped = ctf.contrast_transfer(u, v, phase_flipped=True, only_flip_phases=True, **FIRST)
    np.testing.assert_array_equal(flipped, np.abs(plain))
    signs = ctf.contrast_transfer(u, v, only_flip_phases=True, **FIRST)
    np.testing.assert_array_equal(signs, np.where(plain < 0, -1.0, 1.0))
    peak = ctf.contrast_transfer(u, v, intact_first_peak=True, **FIRST)
    assert peak[0, 0] == 1.0
    changed = peak != plain
    assert changed.any()
    assert np.all(peak[changed] == 1.0)
    assert not changed[20, 20]


def test_zero_becomes_a_small_positive_number() -> None:
    value = value_at(0.0, 0.0, FIRST | {"amplitude_contrast": 0.0})
    assert value == 1e-8


def test_magnification_matrix_turns_the_frequencies() -> None:
    u, v = ctf.frequency_grid(8, 16, 2.0)
    assert u[0, 1] == pytest.approx(1 / 32.0)
    mu, mv = ctf.frequency_grid(8, 16, 2.0, [[1.02, 0.01], [0.03, 0.98]])
    np.testing.assert_allclose(mu, 1.02 * u + 0.01 * v)
    np.testing.assert_allclose(mv, 0.03 * u + 0.98 * v)


def test_zernike_polynomials() -> None:
    u, v = np.array([0.0, 0.3, -0.2]), np.array([0.0, 0.1, 0.7])
    q2 = u**2 + v**2
    np.testing.assert_allclose(ctf.zernike(0, 0, u, v), 1.0)
    np.testing.assert_allclose(ctf.zernike(2, 0, u, v), 2 * q2 - 1)
    np.testing.assert_allclose(ctf.zernike(2, -2, u, v), 2 * u * v, atol=1e-15)
    np.testing.assert_allclose(ctf.zernike(3, 1, u, v), (3 * q2 - 2) * u, atol=1e-15)
    with pytest.raises(ValueError, match="no Zernike"):
        ctf.zernike(2, 1, u, v)


def test_odd_coefficients_follow_relions_order() -> None:
    u, v = np.array([0.11]), np.array([-0.07])
    q2 = u**2 + v**2
    expected = [v, u, 3 * u**2 * v - v**3, (3 * q2 - 2) * v, (3 * q2 - 2) * u]
    for j, polynomial in enumerate(expected):
        coefficients = [0.0] * j + [2.0]
        np.testing.assert_allclose(ctf.antisymmetric_phase(u, v, coefficients), 2.0 * polynomial)


@pytest.mark.parametrize("phase_shift", [0.0, 60.0])
def test_ctf_equals_relion_ctf_toolbox(tmp_path: Path, phase_shift: float) -> None:
    run_relion(
        "relion_ctf_toolbox",
        "--simulate c.mrc --angpix 3 --box 32 --kV 300 --Q0 0.1 --Cs 2.7 --defU 15000"
        f" --defV 14000 --defAng 30 --phase_shift {phase_shift}",
        tmp_path,
    )
    expected = read_mrc(tmp_path / "c.mrc").squeeze()
    u, v = ctf.frequency_grid(32, 32, 3.0)
    found = ctf.contrast_transfer(u, v, phase_shift_deg=phase_shift, **FIRST)
    np.testing.assert_allclose(found[np.arange(-15, 16), :16], expected[1:, 16:], atol=1e-6)


@pytest.mark.parametrize("j", [0, 1, 2, 3, 4, 5, 6, 7, 8])
def test_even_aberrations_equal_relion_ctf_toolbox(tmp_path: Path, j: int) -> None:
    strength = (0.5, 40.0, 40.0, 40.0, 9000.0, 9000.0, 9000.0, 9000.0, 9000.0)[j]
    coefficients = [0.0] * (4 if j < 4 else 9)
    coefficients[j] = strength
    delta = np.zeros((1, 32, 32))
    delta[0, 16, 16] = 1.0
    write_mrc(tmp_path / "d.mrcs", delta, 3.0)
    optics = {
        "rlnOpticsGroupName": "g1",
        "rlnOpticsGroup": 1,
        "rlnVoltage": 300,
        "rlnSphericalAberration": 2.7,
        "rlnAmplitudeContrast": 0.1,
        "rlnImagePixelSize": 3,
        "rlnImageSize": 32,
        "rlnImageDimensionality": 2,
        "rlnEvenZernike": "[" + ",".join(map(str, coefficients)) + "]",
    }
    particles = {
        "rlnImageName": ["000001@d.mrcs"],
        "rlnDefocusU": [15000],
        "rlnDefocusV": [14000],
        "rlnDefocusAngle": [30],
        "rlnOpticsGroup": [1],
        "rlnMicrographName": ["m.mrc"],
    }
    write_star(tmp_path / "d.star", optics, particles)
    run_relion("relion_ctf_toolbox", "--i d.star --o ctf", tmp_path)
    image = read_mrc(next(iter(tmp_path.glob("*ctf*.mrcs")))).reshape(32, 32)
    expected = centre_half_transform(forward_2d(image)).real * 32**2
    u, v = ctf.frequency_grid(32, 32, 3.0)
    found = ctf.contrast_transfer(u, v, even_zernike=coefficients, **FIRST)
    rows = np.arange(-15, 16)
    np.testing.assert_allclose(found[rows, :16], expected[rows, :16], atol=1e-6)
    assert np.abs(found - ctf.contrast_transfer(u, v, **FIRST)).max() > 0.3
