"""Fourier pixels of the images of an optics group, and what the microscope did to them there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.pixels import PixelList, make_pixel_list
from clrelion.expectation.settings import CtfRules, ImageGeometry
from clrelion.fourier.ctf import antisymmetric_phase, contrast_transfer
from clrelion.io.optics import OpticsGroup
from clrelion.io.particle_table import ParticleTable

__all__ = ["SlicePixels"]


@dataclass(frozen=True)
class SlicePixels:
    """Distinct pixels of one optics group's images within a radius of the map.

    Attributes
    ----------
    optics
        The group.
    remap
        rho, pixels of its transforms per pixel of the map's.
    kx, ky
        int64, (n,); Fourier pixels of the image; of a pair of Friedel mates only one.
    uv
        float64, (n, 2); spatial frequency after magnification correction, 1/Å.
    xy
        float64, (n, 2); position in the map's padded transform.
    """

    optics: OpticsGroup
    remap: float
    kx: NDArray[np.int64]
    ky: NDArray[np.int64]
    uv: NDArray[np.float64]
    xy: NDArray[np.float64]

    @classmethod
    def create(
        cls,
        optics: OpticsGroup,
        ori_size: int,
        pixel_size_angst: float,
        r_max: int,
        padding: float,
        for_projection: bool = False,
    ) -> SlicePixels:
        """List the pixels.

        Parameters
        ----------
        optics
            The group.
        ori_size, pixel_size_angst
            Box and pixel size of the map.
        r_max
            R, Fourier pixels of the map.
        padding
            Padded Fourier pixels per Fourier pixel of the map.
        for_projection
            The pixels that a projection has; False: those that are put back.
        """
        extent = ori_size * pixel_size_angst
        remap = optics.box_px * optics.pixel_size_angst / extent
        geometry = ImageGeometry(optics, remap, optics.box_px, optics.box_px)
        pixels: PixelList = make_pixel_list(geometry, optics.box_px, r_max, padding, padding)
        kept = pixels.is_backprojected.copy()
        xy = pixels.backprojected_xy
        if for_projection:
            kept[:] = False
            kept[: pixels.n_projected] = True
            xy = pixels.projected_xy
        kx, ky = pixels.kx[kept].astype(np.int64), pixels.ky[kept].astype(np.int64)
        k = np.stack([kx, ky], axis=-1).astype(np.float64)
        uv = k @ optics.mag_matrix.T / (optics.box_px * optics.pixel_size_angst)
        return cls(optics, remap, kx, ky, uv, xy[kept])

    @property
    def place(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of each pixel in a half transform."""
        return self.ky % self.optics.box_px, self.kx

    def ctf(
        self, table: ParticleTable, ids: NDArray[np.int64], rules: CtfRules
    ) -> NDArray[np.float64]:
        """CTF of particles, float64, (n_particles, n); ones without ``--ctf``."""
        if not rules.correct:
            return np.ones((len(ids), len(self.kx)))
        optics = self.optics

        def column(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return values[ids][:, None]

        return contrast_transfer(
            self.uv[:, 0],
            self.uv[:, 1],
            voltage_kv=optics.voltage_kv,
            spherical_aberration_mm=optics.spherical_aberration_mm,
            amplitude_contrast=optics.amplitude_contrast or 0.0,
            defocus_u_angst=column(table.defocus_u_angst),
            defocus_v_angst=column(table.defocus_v_angst),
            defocus_angle_deg=column(table.defocus_angle_deg),
            phase_shift_deg=column(table.phase_shift_deg),
            bfactor=column(table.ctf_bfactor),
            scale_factor=column(table.ctf_scalefactor),
            even_zernike=optics.even_zernike,
            intact_first_peak=rules.intact_first_peak,
            phase_flipped=rules.phase_flipped,
            only_flip_phases=rules.only_flip_phases,
        )

    def aberration(self) -> NDArray[np.complex128]:
        """Phase factors of the antisymmetric aberrations, complex128, (n,)."""
        optics = self.optics
        phase = antisymmetric_phase(
            self.uv[:, 0],
            self.uv[:, 1],
            optics.odd_zernike,
            optics.beam_tilt_x_mrad,
            optics.beam_tilt_y_mrad,
            optics.voltage_kv,
            optics.spherical_aberration_mm,
        )
        return np.asarray(np.exp(1j * phase))

    def shift(self, offsets_px: NDArray[np.float64]) -> NDArray[np.complex128]:
        """Phase factors that move the content by offsets (n_particles, 2), px; (n_particles, n)."""
        box = self.optics.box_px
        turns = (offsets_px[:, :1] * self.kx + offsets_px[:, 1:] * self.ky) / box
        return np.asarray(np.exp(-2j * np.pi * turns))
