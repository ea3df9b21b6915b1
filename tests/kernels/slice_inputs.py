"""Random references, orientations, pixel lists and phase ramps for kernels that slice volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clrelion.orientations.euler import euler_matrix


@dataclass(frozen=True)
class PixelList:
    """Pixels of a half transform of ``size`` within size/2, each once, nearest to the origin first.

    ``kx``, ``ky`` as they are; ``xy`` (n, 2) in padded Fourier units; ``shell`` of each.
    """

    size: int
    padding_factor: float
    kx: npt.NDArray[np.int64]
    ky: npt.NDArray[np.int64]

    @property
    def n(self) -> int:
        return len(self.kx)

    @property
    def half(self) -> int:
        return self.size // 2

    @property
    def kxy(self) -> npt.NDArray[np.int32]:
        return np.stack([self.kx, self.ky], axis=1).astype(np.int32)

    @property
    def xy(self) -> npt.NDArray[np.float64]:
        return np.asarray(self.padding_factor * np.stack([self.kx, self.ky], axis=1))

    @property
    def shell(self) -> npt.NDArray[np.int32]:
        return np.floor(np.hypot(self.kx, self.ky) + 0.5).astype(np.int32)

    @property
    def centre(self) -> int:
        """Index of the origin along y and z of a reference that holds all the pixels."""
        return int(np.floor(self.padding_factor * self.half + 0.5)) + 1

    def phases(self, shifts_px: npt.NDArray[Any], box: int) -> npt.NDArray[np.complex128]:
        """Fourier shift of each translation at each pixel (specification E 1.10)."""
        kx, ky = self.kx[None], self.ky[None]
        sx, sy = shifts_px[:, :1], shifts_px[:, 1:]
        return np.exp(-2j * np.pi * (kx * sx + ky * sy) / box)

    def ramps(
        self, shifts_px: npt.NDArray[Any], box: int
    ) -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.complex128]]:
        """Factors of the phases along kx = 0..half and ky = -half..half, as kernels read them."""
        kx, ky = np.arange(self.half + 1), np.arange(-self.half, self.half + 1)
        factor = -2j * np.pi / box
        return (
            np.exp(factor * shifts_px[:, :1] * kx[None]),
            np.exp(factor * shifts_px[:, 1:] * ky[None]),
        )


def pixel_list(size: int, padding_factor: float = 2.0) -> PixelList:
    half = size // 2
    ky, kx = np.mgrid[-half + 1 : half + 1, 0 : half + 1].reshape(2, -1)
    kept = (kx**2 + ky**2 <= half**2) & ~((kx == 0) & (ky < 0))
    kx, ky = kx[kept], ky[kept]
    order = np.argsort(kx**2 + ky**2, kind="stable")
    return PixelList(size, padding_factor, kx[order], ky[order])


def random_reference(
    rng: np.random.Generator, n_classes: int, centre: int
) -> npt.NDArray[np.complex128]:
    """White-noise centred half transforms (class, z, y, x >= 0) of real maps."""
    edge = 2 * centre + 1
    shape = (n_classes, edge, edge, centre + 1)
    half = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    plane = half[..., 0]  # both halves of the plane x = 0 are stored: they belong together
    half[..., 0] = (plane + np.conj(plane[:, ::-1, ::-1])) / 2
    return half


@dataclass(frozen=True)
class Grid:
    """Random directions x psis, as whole matrices A and as the kernels' frames and psis."""

    rot_deg: npt.NDArray[np.float64]
    tilt_deg: npt.NDArray[np.float64]
    psi_deg: npt.NDArray[np.float64]
    perturbation: npt.NDArray[np.float64]

    @property
    def matrices(self) -> npt.NDArray[np.float64]:
        """A(rot, tilt, psi) perturbation, (direction, psi, 3, 3)."""
        whole = euler_matrix(self.rot_deg[:, None], self.tilt_deg[:, None], self.psi_deg[None])
        return whole @ self.perturbation

    @property
    def frames(self) -> npt.NDArray[np.float64]:
        """First two rows of the matrix at psi = 0, (direction, 6)."""
        flat = euler_matrix(self.rot_deg, self.tilt_deg, 0.0) @ self.perturbation
        return flat[:, :2].reshape(-1, 6)

    @property
    def psis(self) -> npt.NDArray[np.float64]:
        """Cosine and sine of psi, (psi, 2)."""
        psi = np.deg2rad(self.psi_deg)
        return np.stack([np.cos(psi), np.sin(psi)], axis=1)


def random_grid(rng: np.random.Generator, n_directions: int, n_psi: int) -> Grid:
    return Grid(
        rng.uniform(-180, 180, n_directions),
        np.rad2deg(np.arccos(rng.uniform(-1, 1, n_directions))),
        rng.uniform(-180, 180, n_psi),
        euler_matrix(3.1, 2.3, -1.7),
    )


def pixels_by_shell(
    shell: npt.NDArray[Any], n_shells: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Pixels of shell 0, 1, ... one after the other, and where each shell starts."""
    order = np.argsort(shell, kind="stable")
    start = np.searchsorted(shell[order], np.arange(n_shells + 1))
    return start.astype(np.int32), order.astype(np.int32)
