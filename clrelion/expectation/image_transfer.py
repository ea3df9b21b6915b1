"""What microscope and detector did to the images of an optics group (specification E 2.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.pixels import PixelList
from clrelion.expectation.settings import CtfRules, ImageGeometry
from clrelion.fourier.ctf import (
    antisymmetric_phase,
    electron_wavelength_angst,
    even_zernike_phase,
)
from clrelion.fourier.shells import half_transform_frequencies, half_transform_shells
from clrelion.io.particle_table import ParticleTable

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["ImageTransfer"]


class ImageTransfer:
    """CTF, aberrations and detector response of one optics group at the listed pixels.

    Parameters
    ----------
    session
        Device.
    rules
        How the CTF enters.
    geometry
        Of the optics group.
    pixels
        Pixel list at the size s_g.
    """

    def __init__(
        self, session: DeviceSession, rules: CtfRules, geometry: ImageGeometry, pixels: PixelList
    ) -> None:
        self._session = session
        self._rules = rules
        self._geometry = geometry
        self._n_list = pixels.n
        optics = geometry.optics
        k = np.stack([pixels.kx, pixels.ky], axis=-1).astype(np.float64)
        # spatial frequencies, 1/Å
        self._uv = k @ optics.mag_matrix.T / (optics.box_px * optics.pixel_size_angst)
        self._uv_d = session.to_device(self._uv, session.real)
        even = even_zernike_phase(self._uv[:, 0], self._uv[:, 1], optics.even_zernike)
        self._even_d = session.to_device(np.broadcast_to(even, (pixels.n,)), session.real)
        self._ones_d: Array | None = None

    def phase_factors(self) -> NDArray[np.complex128]:
        """Factors that undo the antisymmetric aberrations, complex128, (n_list,)."""
        optics = self._geometry.optics
        phase = antisymmetric_phase(
            self._uv[:, 0],
            self._uv[:, 1],
            optics.odd_zernike,
            optics.beam_tilt_x_mrad,
            optics.beam_tilt_y_mrad,
            optics.voltage_kv,
            optics.spherical_aberration_mm,
        )
        return np.asarray(np.exp(-1j * np.broadcast_to(phase, (self._n_list,))))

    def response_factors(self) -> NDArray[np.float64]:
        """Factors that make the detectors alike, float64, (box, box/2+1); 1 beyond shell s_g/2."""
        optics, response = self._geometry.optics, self._geometry.response
        box, half = optics.box_px, self._geometry.image_size // 2
        kx, ky = half_transform_frequencies(box)
        if response is None:
            return np.ones(kx.shape)
        uv = np.stack([kx, ky], axis=-1) @ optics.mag_matrix.T / (box * optics.pixel_size_angst)
        factors = response.factors(np.hypot(uv[..., 0], uv[..., 1]))
        return np.where(half_transform_shells(box) <= half, factors, 1.0)

    def ones(self, n: int) -> Array:
        """Real device array of ones, (n or more, n_list)."""
        if self._ones_d is None or self._ones_d.shape[0] < n:
            self._ones_d = self._session.to_device(np.ones((n, self._n_list)), self._session.real)
        return self._ones_d

    def contrast_transfer(self, ids: NDArray[np.int64], table: ParticleTable) -> Array:
        """CTF of particles at the listed pixels, real, (n, n_list).

        Squared for premultiplied images; without ``--ctf`` ones, and maybe more than n rows.
        """
        rules, optics = self._rules, self._geometry.optics
        session, n = self._session, len(ids)
        if not rules.correct:
            return self.ones(n)
        wavelength = float(electron_wavelength_angst(optics.voltage_kv))
        cs_angst = 1e7 * optics.spherical_aberration_mm
        out = session.empty((n, self._n_list), session.real)
        session.kernel(
            "expectation/contrast_transfer",
            intact_first_peak=rules.intact_first_peak,
            phase_flipped=rules.phase_flipped,
            only_flip_phases=rules.only_flip_phases,
            squared=bool(optics.ctf_premultiplied),
        )(
            (self._n_list, n),
            None,
            session.to_device(self._parameters(ids, table), session.real),
            self._uv_d,
            self._even_d,
            float(np.pi * wavelength),
            float(np.pi / 2 * cs_angst * wavelength**3),
            n,
            self._n_list,
            out,
        )
        return out

    def _parameters(self, ids: NDArray[np.int64], table: ParticleTable) -> NDArray[np.float64]:
        """Parameters of kernel contrast_transfer, float64, (n, 8)."""
        contrast = float(self._geometry.optics.amplitude_contrast or 0.0)
        angle = np.deg2rad(table.defocus_angle_deg[ids])
        parameters = np.zeros((len(ids), 8))
        parameters[:, 0] = table.defocus_u_angst[ids]
        parameters[:, 1] = table.defocus_v_angst[ids]
        parameters[:, 2] = np.cos(angle)
        parameters[:, 3] = np.sin(angle)
        parameters[:, 4] = np.deg2rad(table.phase_shift_deg[ids]) + np.arcsin(contrast)
        parameters[:, 5] = table.ctf_bfactor[ids]
        parameters[:, 6] = table.ctf_scalefactor[ids]
        return parameters
