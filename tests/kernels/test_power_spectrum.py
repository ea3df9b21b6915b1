"""power_spectrum: power of images in Fourier shells."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from clrelion.device.session import DeviceSession
from clrelion.fourier.shells import half_transform_frequencies, half_transform_shells
from tests import tolerances
from tests.kernels.launch import Output, rounded, run_kernel
from tests.kernels.slice_inputs import pixels_by_shell
from tests.reference.power_spectrum import power_spectrum


def spectra(
    session: DeviceSession,
    transforms: npt.NDArray[Any],
    shell: npt.NDArray[Any],
    n_shells: int,
    wg: int = 1,
) -> npt.NDArray[Any]:
    """Power by ``shell`` of each pixel (ky, kx); those with -1 do not count."""
    n = len(transforms)
    start, pixel = pixels_by_shell(shell.ravel(), n_shells)
    out = Output(session, (n, n_shells))
    run_kernel(
        session, "power_spectrum", (n_shells * wg, n), (wg, 1),
        transforms, start, pixel, shell.size, n_shells, out, wg=wg,
    )  # fmt: skip
    return out.read()


def shells_of_the_half_plane(box: int) -> npt.NDArray[np.int64]:
    kx, ky = half_transform_frequencies(box)
    return np.where((kx == 0) & (ky < 0), -1, half_transform_shells(box))


@pytest.mark.parametrize("wg", [1, 16, 64])
@pytest.mark.parametrize(("n", "box"), [(1, 30), (3, 44), (7, 6)])
def test_random_images(
    any_session: DeviceSession, wg: int, n: int, box: int
) -> None:
    images = np.random.default_rng(box).standard_normal((n, box, box))
    n_shells = box // 2 + 1
    transforms = np.fft.rfft2(images) / box**2
    result = spectra(any_session, transforms, shells_of_the_half_plane(box), n_shells, wg)
    tolerance = tolerances.of_sum(any_session.real, 4 * box)
    tolerances.assert_close(result, power_spectrum(images, n_shells), tolerance)


def test_parseval(any_session: DeviceSession) -> None:
    """All shells, corners included, with the other half-plane, hold the mean square."""
    box = 30
    images = np.random.default_rng(1).standard_normal((2, box, box))
    # without Nyquist frequencies, so that every pixel but the origin has a mirror image
    spectrum = np.fft.fft2(images)
    spectrum[:, box // 2] = spectrum[:, :, box // 2] = 0
    images = np.fft.ifft2(spectrum).real
    transforms = rounded(any_session, np.fft.rfft2(images) / box**2)
    shell = shells_of_the_half_plane(box)
    power = spectra(any_session, transforms, shell, int(shell.max()) + 1)
    total = 2 * power.sum(axis=1) - power[:, 0]
    tolerance = tolerances.of_sum(any_session.real, 10)
    tolerances.assert_close(total, (images**2).mean(axis=(1, 2)), tolerance)
