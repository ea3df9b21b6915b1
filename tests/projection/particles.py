"""Particles of a phantom with every property of an optics group, written to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.reference import reference_transform
from clrelion.fourier.ctf import antisymmetric_phase, contrast_transfer, frequency_grid
from clrelion.fourier.transforms import apply_shift, centre_half_transform, inverse_2d
from clrelion.orientations.euler import euler_matrix
from tests.reference.phantoms import blob_map, uniform_angles
from tests.reference.relion_programs import write_mrc, write_star
from tests.reference.slices import project

N, PIXEL = 32, 3.0


def write_particles(
    folder: Path, n: int = 60, noise: float = 0.3, tilt_mrad: float = 0.0, seed: int = 4
) -> NDArray[np.float64]:
    """Write s.star and s.mrcs: CTF, shifts, half-sets, classes; return the true map."""
    rng = np.random.default_rng(seed)
    truth = blob_map(N)
    angles = uniform_angles(n, seed).round(6)
    origin = rng.uniform(-6, 6, (n, 2)).round(6)
    transforms = project(
        reference_transform(truth, 2.0, N // 2), np.asarray(euler_matrix(*angles.T)), N
    )
    defocus = rng.uniform(10000, 20000, (2, n)).round(2)
    azimuth = rng.uniform(0, 180, n).round(3)
    u, v = frequency_grid(N, N, PIXEL)
    transforms = transforms * contrast_transfer(
        u, v, voltage_kv=300.0, spherical_aberration_mm=2.7, amplitude_contrast=0.1,
        defocus_u_angst=defocus[0][:, None, None], defocus_v_angst=defocus[1][:, None, None],
        defocus_angle_deg=azimuth[:, None, None],
    )  # fmt: skip
    phase = antisymmetric_phase(
        u, v, (), tilt_mrad, 0.0, voltage_kv=300.0, spherical_aberration_mm=2.7
    )
    transforms *= np.exp(1j * phase)
    images = inverse_2d(centre_half_transform(apply_shift(transforms, -origin / PIXEL, N)))
    images += rng.normal(scale=noise * images.std(), size=images.shape)
    # relion_reconstruct leaves the mean of the images out
    write_mrc(folder / "s.mrcs", images - images.mean(axis=(1, 2), keepdims=True), PIXEL)
    table: dict[str, Any] = {
        "rlnOpticsGroupName": "g1", "rlnOpticsGroup": 1, "rlnVoltage": 300,
        "rlnSphericalAberration": 2.7, "rlnAmplitudeContrast": 0.1, "rlnImagePixelSize": PIXEL,
        "rlnImageSize": N, "rlnImageDimensionality": 2, "rlnBeamTiltX": tilt_mrad,
        "rlnBeamTiltY": 0.0,
    }  # fmt: skip
    particles = {
        "rlnImageName": [f"{i + 1:06d}@s.mrcs" for i in range(n)],
        "rlnAngleRot": angles[:, 0], "rlnAngleTilt": angles[:, 1], "rlnAnglePsi": angles[:, 2],
        "rlnOriginXAngst": origin[:, 0], "rlnOriginYAngst": origin[:, 1],
        "rlnDefocusU": defocus[0], "rlnDefocusV": defocus[1], "rlnDefocusAngle": azimuth,
        "rlnOpticsGroup": [1] * n, "rlnRandomSubset": 1 + np.arange(n) % 2,
        "rlnClassNumber": 1 + np.arange(n) % 3,
    }  # fmt: skip
    write_star(folder / "s.star", table, particles)
    return truth
