"""From slices to the map against ``relion_reconstruct`` 3.1.3 (its rules are the same here).

``--pad 1.85`` keeps every pixel off the cut-off sphere, where the last bit of a rotated coordinate
decides (specification E F.1).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.expectation.reference import reference_transform
from clrelion.fourier.ctf import antisymmetric_phase, contrast_transfer, frequency_grid
from clrelion.fourier.transforms import centre_half_transform, forward_2d, inverse_2d
from clrelion.maximization.reconstruct import reconstruct
from clrelion.maximization.spectra import gold_standard_spectra
from clrelion.maximization.sums import BackprojectionSums
from clrelion.orientations.euler import euler_matrix
from clrelion.orientations.symmetry import PointGroup
from tests.reference.phantoms import blob_map, uniform_angles
from tests.reference.relion_programs import read_mrc, run_relion, write_mrc, write_star
from tests.reference.slices import backproject, project

N, PIXEL, PADDING, N_IMAGES = 32, 3.0, 1.85, 40


def noisy_particles(folder: Path, with_ctf: bool, optics: dict[str, Any]) -> dict[str, Any]:
    """Write a stack and its STAR file; return what the back-projection needs."""
    rng = np.random.default_rng(4)
    angles = uniform_angles(N_IMAGES).round(6)
    matrices = np.asarray(euler_matrix(*angles.T))
    slices = project(reference_transform(blob_map(N), 2.0, N // 2), matrices, N)
    defocus = rng.uniform(10000, 20000, (2, N_IMAGES)).round(2)
    azimuth = rng.uniform(0, 180, N_IMAGES).round(3)
    ctf = np.ones(slices.shape)
    if with_ctf:
        u, v = frequency_grid(N, N, PIXEL)
        ctf = contrast_transfer(
            u,
            v,
            voltage_kv=300.0,
            spherical_aberration_mm=2.7,
            amplitude_contrast=0.1,
            defocus_u_angst=defocus[0][:, None, None],
            defocus_v_angst=defocus[1][:, None, None],
            defocus_angle_deg=azimuth[:, None, None],
        )
    images = inverse_2d(centre_half_transform(slices * ctf))
    images += rng.normal(scale=0.3 * images.std(), size=images.shape)
    # relion_reconstruct leaves the mean of the images out
    images = write_mrc(folder / "s.mrcs", images - images.mean(axis=(1, 2), keepdims=True), PIXEL)
    table = {
        "rlnOpticsGroupName": "g1",
        "rlnOpticsGroup": 1,
        "rlnVoltage": 300,
        "rlnSphericalAberration": 2.7,
        "rlnAmplitudeContrast": 0.1,
        "rlnImagePixelSize": PIXEL,
        "rlnImageSize": N,
        "rlnImageDimensionality": 2,
    }
    particles = {
        "rlnImageName": [f"{i + 1:06d}@s.mrcs" for i in range(N_IMAGES)],
        "rlnAngleRot": angles[:, 0],
        "rlnAngleTilt": angles[:, 1],
        "rlnAnglePsi": angles[:, 2],
        "rlnDefocusU": defocus[0],
        "rlnDefocusV": defocus[1],
        "rlnDefocusAngle": azimuth,
        "rlnOpticsGroup": [1] * N_IMAGES,
    }
    write_star(folder / "s.star", table | optics, particles)
    transforms = centre_half_transform(forward_2d(images))
    return {"transforms": transforms, "ctf": ctf, "matrices": matrices}


def sums_of(particles: dict[str, Any], symmetry: str, r_max: int = N // 2) -> BackprojectionSums:
    sums = BackprojectionSums.zeros(PADDING, r_max, N)
    ctf = particles["ctf"]
    backproject(sums, particles["transforms"] * ctf, ctf * ctf, particles["matrices"])
    sums.hermitian_repair()
    sums.symmetrise(PointGroup.from_name(symmetry).operators)
    return sums


def relion_map(folder: Path, arguments: str) -> NDArray[np.float64]:
    run_relion(
        "relion_reconstruct",
        f"--i s.star --o r.mrc --pad {PADDING} --skip_gridding {arguments}",
        folder,
    )
    return read_mrc(folder / "r.mrc")


@pytest.mark.parametrize("symmetry", ["C1", "C3", "D2", "D7", "T", "O", "I1", "I2", "I3", "I4"])
def test_unregularised_map(tmp_path: Path, symmetry: str) -> None:
    particles = noisy_particles(tmp_path, False, {})
    expected = relion_map(tmp_path, f"--sym {symmetry}")
    found = reconstruct(sums_of(particles, symmetry), None)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


def test_ctf_and_a_resolution_limit(tmp_path: Path) -> None:
    particles = noisy_particles(tmp_path, True, {})
    expected = relion_map(tmp_path, "--sym D2 --ctf --maxres 8.0")
    found = reconstruct(sums_of(particles, "D2", r_max=12), None)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("rlnOddZernike", "[1.5,-2.0,90.0,70.0,-80.0,60.0]"),
        ("rlnBeamTiltX", 1.7),
        ("rlnBeamTiltY", -1.2),
    ],
)
def test_antisymmetric_aberrations(tmp_path: Path, label: str, value: Any) -> None:
    optics = {"rlnBeamTiltX": 0.0, "rlnBeamTiltY": 0.0, label: value}
    if label == "rlnOddZernike":
        optics = {label: value}
    particles = noisy_particles(tmp_path, False, optics)
    # RELION takes the Nyquist row as negative there: keep it out
    expected = relion_map(tmp_path, "--ctf --maxres 8.0")
    u, v = frequency_grid(N, N, PIXEL)
    phase = antisymmetric_phase(
        u,
        v,
        (1.5, -2.0, 90.0, 70.0, -80.0, 60.0) if label == "rlnOddZernike" else (),
        beam_tilt_x_mrad=float(optics.get("rlnBeamTiltX", 0.0)),
        beam_tilt_y_mrad=float(optics.get("rlnBeamTiltY", 0.0)),
        voltage_kv=300.0,
        spherical_aberration_mm=2.7,
    )
    particles["transforms"] = particles["transforms"] * np.exp(-1j * phase)
    defocus = _read_defocus(tmp_path / "s.star")
    particles["ctf"] = contrast_transfer(
        u,
        v,
        voltage_kv=300.0,
        spherical_aberration_mm=2.7,
        amplitude_contrast=0.1,
        defocus_u_angst=defocus[:, 0, None, None],
        defocus_v_angst=defocus[:, 1, None, None],
        defocus_angle_deg=defocus[:, 2, None, None],
    )
    found = reconstruct(sums_of(particles, "C1", r_max=12), None)
    np.testing.assert_allclose(found, expected, atol=5e-6 * np.abs(expected).max())


def test_regularised_joined_map(tmp_path: Path) -> None:
    particles = noisy_particles(tmp_path, False, {})
    fsc = np.exp(-np.arange(N // 2 + 1) / 5.0).round(8)
    rows = "\n".join(f"{i} {value:.8f}" for i, value in enumerate(fsc))
    head = "data_fsc\n\nloop_\n_rlnSpectralIndex #1\n_rlnGoldStandardFsc #2\n"
    (tmp_path / "fsc.star").write_text(f"\n{head}{rows}\n\n")
    expected = relion_map(tmp_path, "--sym D2 --fsc fsc.star")
    sums = sums_of(particles, "D2")
    spectra = gold_standard_spectra(sums, fsc, is_joined=True).result()
    found = reconstruct(sums, spectra.tau2, minres_map=0)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


def _read_defocus(path: Path) -> NDArray[np.float64]:
    rows = [line.split() for line in path.read_text().splitlines() if "@s.mrcs" in line]
    return np.array([[float(value) for value in row[4:7]] for row in rows])
