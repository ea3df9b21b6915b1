"""contrast_transfer: the CTF of each particle at the listed pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from clrelion.device.session import DeviceSession
from clrelion.fourier.ctf import electron_wavelength_angst, even_zernike_phase
from tests import tolerances
from tests.kernels.launch import Output, run_kernel
from tests.kernels.slice_inputs import pixel_list
from tests.reference.contrast_transfer import contrast_transfer

VOLTAGE_KV = 300.0
CS_MM = 2.7
MODES: dict[str, bool] = {
    "intact_first_peak": False,
    "phase_flipped": False,
    "only_flip_phases": False,
    "squared": False,
}


def ctfs(
    session: DeviceSession,
    particles: dict[str, npt.NDArray[np.float64]],
    u: npt.NDArray[np.float64],
    v: npt.NDArray[np.float64],
    aberration: npt.NDArray[np.float64] | None = None,
    amplitude_contrast: float = 0.1,
    group: tuple[int, int] = (1, 1),
    **modes: bool,
) -> npt.NDArray[Any]:
    """What the kernel writes; ``particles`` in the names and units of the twin."""
    angle = np.deg2rad(particles["defocus_angle_deg"])
    amplitude = np.arctan(amplitude_contrast / np.sqrt(1 - amplitude_contrast**2))
    shift = np.deg2rad(particles["phase_shift_deg"]) + amplitude
    columns = [
        particles["defocus_u_angst"], particles["defocus_v_angst"], np.cos(angle), np.sin(angle),
        shift, particles["bfactor"], particles["scale_factor"], np.zeros_like(angle),
    ]  # fmt: skip
    wavelength = electron_wavelength_angst(VOLTAGE_KV)
    n, n_list = len(angle), len(u)
    out = Output(session, (n, n_list))
    run_kernel(
        session, "contrast_transfer", (n_list, n), group,
        np.stack(columns, axis=1), np.stack([u, v], axis=1),
        np.zeros(n_list) if aberration is None else aberration,
        float(np.pi * wavelength), float(np.pi / 2 * CS_MM * 1e7 * wavelength**3), n, n_list, out,
        **{**MODES, **modes},
    )  # fmt: skip
    return out.read()


def random_particles(rng: np.random.Generator, n: int) -> dict[str, npt.NDArray[np.float64]]:
    return {
        "defocus_u_angst": rng.uniform(5e3, 3e4, n),
        "defocus_v_angst": rng.uniform(5e3, 3e4, n),
        "defocus_angle_deg": rng.uniform(-180, 180, n),
        "phase_shift_deg": rng.uniform(0, 180, n),
        "bfactor": rng.uniform(0, 100, n),
        "scale_factor": rng.uniform(0.5, 1.5, n),
    }


def largest_phase(particles: dict[str, npt.NDArray[np.float64]], q: npt.NDArray[Any]) -> float:
    """Radians; the error of gamma is some ulp of it."""
    defocus = max(float(np.max(particles[f"defocus_{axis}_angst"])) for axis in "uv")
    return float(np.pi * electron_wavelength_angst(VOLTAGE_KV) * defocus * np.max(q**2))


def frequencies(size: int, extent_angst: float) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    pixels = pixel_list(size)
    return pixels.kx / extent_angst, pixels.ky / extent_angst


@pytest.mark.parametrize(
    "modes",
    [
        {},
        {"intact_first_peak": True},
        {"phase_flipped": True},
        {"only_flip_phases": True},
        {"squared": True},
        {"intact_first_peak": True, "phase_flipped": True, "only_flip_phases": True},
    ],
    ids=lambda modes: "+".join(modes) or "plain",
)
@pytest.mark.parametrize(
    ("n", "size", "group"), [(1, 30, (1, 1)), (3, 44, (16, 2)), (7, 14, (64, 1))]
)
def test_random_particles(
    any_session: DeviceSession,
    modes: dict[str, bool],
    n: int,
    size: int,
    group: tuple[int, int],
) -> None:
    rng = np.random.default_rng(size)
    particles = random_particles(rng, n)
    u, v = frequencies(size, 3.0 * size)
    zernike = (0.0, 0.3, -20.0, 10.0, 5.0)
    aberration = even_zernike_phase(u, v, zernike)
    result = ctfs(any_session, particles, u, v, aberration, group=group, **modes)
    given: dict[str, Any] = {name: values[:, None] for name, values in particles.items()}
    given |= {"voltage_kv": VOLTAGE_KV, "spherical_aberration_mm": CS_MM}
    given |= {"amplitude_contrast": 0.1, "even_zernike": zernike}
    expected = contrast_transfer(u[None], v[None], **given, **modes)
    tolerance = tolerances.of_phase(any_session.real, largest_phase(particles, np.hypot(u, v)))
    if "intact_first_peak" in modes or "only_flip_phases" in modes:
        # values jump where the phase is at a limit: leave out what single precision cannot decide
        plain = contrast_transfer(
            u[None], v[None], **{**given, "bfactor": 0.0, "scale_factor": 1.0}
        )
        clear = (np.abs(plain) > 2e-3) & (np.abs(plain) < 1 - 2e-6)
        assert clear.mean() > 0.9
        result, expected = np.where(clear, result, 0), np.where(clear, expected, 0)
    tolerances.assert_close(result, expected, tolerance)


def test_origin_is_the_amplitude_contrast(any_session: DeviceSession) -> None:
    particles = {name: values[:1] for name, values in random_particles(
        np.random.default_rng(1), 1).items()}  # fmt: skip
    particles["phase_shift_deg"] = np.zeros(1)
    particles["scale_factor"] = np.full(1, 2.0)
    result = ctfs(any_session, particles, np.zeros(1), np.zeros(1), amplitude_contrast=0.07)
    np.testing.assert_allclose(result, [[0.14]], rtol=1e-6)


def test_zeros_move_to_the_smallest_value(any_session: DeviceSession) -> None:
    """A CTF of exactly zero counts as +1e-8, a scale factor of zero too (E 2.9, 5)."""
    particles = {name: np.zeros(3) for name in random_particles(np.random.default_rng(0), 1)}
    particles["scale_factor"] = np.array([1.0, 0.0, 1.0])
    particles["phase_shift_deg"] = np.array([0.0, 30.0, -1e-8])
    origin = np.zeros(1)
    result = ctfs(any_session, particles, origin, origin, amplitude_contrast=0.0)
    np.testing.assert_allclose(result[:, 0], [1e-8, 1e-8, -1e-8], rtol=1e-6)
