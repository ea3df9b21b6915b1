"""What one expectation step of one half-set needs to know: the model, the sampling, the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.detector_response import DetectorResponse
from clrelion.expectation.device_reference import DeviceReferenceTransform
from clrelion.expectation.reference import ReferenceTransform
from clrelion.fourier.shells import pixels_per_shell, round_half_away
from clrelion.io.particle_table import OpticsGroup
from clrelion.orientations.sampling import OrientationGrid, TranslationGrid
from clrelion.orientations.symmetry import PointGroup

__all__ = ["CtfRules", "ExpectationSettings", "ImageGeometry", "LocalSearch"]


@dataclass(frozen=True)
class ImageGeometry:
    """Sizes of the images of one optics group in this iteration.

    Attributes
    ----------
    optics
        Optics group as read from the particle file.
    remap
        rho_g, image shells per model shell (specification E 0), evaluated literally in double.
    image_size, coarse_size
        s_g and c_g, px, even (specification E 3.8).
    response
        Brings the images to the mean response of all detectors; None if there is only one.

    Notes
    -----
    A transform is divided by the number of its pixels, so that the same particle with the same grey
    values has coefficients in inverse proportion to the area of its box.  Images and residuals stay
    in units of their own; the references are multiplied by `amplitude`, and noise spectra, which
    are kept for the area of the model's box, are divided by rho^2 (specification E Q9).
    """

    optics: OpticsGroup
    remap: float
    image_size: int
    coarse_size: int
    response: DetectorResponse | None = None

    @property
    def amplitude(self) -> float:
        """Coefficients of these images relative to the model's: 1/rho^2."""
        return 1.0 / self.remap**2

    def model_shells(self, n_image_shells: int) -> NDArray[np.int64]:
        """Model shell of image shells 0, 1 .. (specification E 1.8)."""
        return round_half_away(np.arange(n_image_shells) / self.remap)

    def image_noise(self, sigma2_noise: NDArray[np.float64]) -> NDArray[np.float64]:
        """Noise spectrum in units of these images, from that of the model's box."""
        return sigma2_noise / self.remap**2

    def model_shares(self, n_image_shells: int, n_model_shells: int) -> NDArray[np.float64]:
        """Weights with which sums over image shells add up as if the model's had been sampled.

        Parameters
        ----------
        n_image_shells
            Shells of which there are sums.
        n_model_shells
            N/2+1.

        Returns
        -------
        numpy.ndarray
            float64, (n_image_shells,): pixels that an N x N transform has on the model shell, by
            image pixels that fall on it; 0 outside.
        """
        shells = self.model_shells(n_image_shells)
        inside = shells < n_model_shells
        n_pixels = pixels_per_shell(self.optics.box_px)[: len(shells)]
        counts = np.bincount(shells[inside], n_pixels[inside], minlength=n_model_shells)
        share = pixels_per_shell(2 * (n_model_shells - 1)) / np.maximum(counts, 1)
        return np.where(inside, share[np.minimum(shells, n_model_shells - 1)], 0.0)

    def sums_of_model_shells(
        self, of_image_shells: NDArray[np.float64], n_model_shells: int
    ) -> NDArray[np.float64]:
        """Sum values of image shells, by `model_shares`, by model shell; float64, (N/2+1,)."""
        shells = self.model_shells(len(of_image_shells))
        inside = shells < n_model_shells
        sums = np.bincount(shells[inside], of_image_shells[inside], minlength=n_model_shells)
        return sums.astype(np.float64)


@dataclass(frozen=True)
class CtfRules:
    """How the CTF enters (specification E 2.9).

    Attributes
    ----------
    correct
        ``--ctf``.
    references_corrected
        References are multiplied by the CTF for comparison.
    intact_first_peak, phase_flipped, only_flip_phases
        The flags of the same names.
    """

    correct: bool
    references_corrected: bool
    intact_first_peak: bool = False
    phase_flipped: bool = False
    only_flip_phases: bool = False


@dataclass(frozen=True)
class LocalSearch:
    """Gaussian priors on the orientation (specification E 4.6).

    Attributes
    ----------
    sigma_rot_deg, sigma_tilt_deg, sigma_psi_deg
        Standard deviations, degrees; <= 0: no prior on this angle.
    centre_on_current
        The prior sits on the current angles; False: on the prior angles of the particle file,
        where they are given.
    """

    sigma_rot_deg: float
    sigma_tilt_deg: float
    sigma_psi_deg: float
    centre_on_current: bool


@dataclass(frozen=True)
class ExpectationSettings:
    """Everything constant during one expectation step of one half-set.

    Attributes
    ----------
    ori_size, pixel_size_angst
        N (px) and pixel size of the model.
    current_size
        S, px, even.
    padding_factor
        p of the command line; each reference has its own N_p / N.
    references
        One for each class; None for a class that is dead.
    pdf_class, pdf_direction
        float64, (K,) and (K, n_dir).
    data_vs_prior
        float64, (K, N/2+1).
    geometry
        One for each optics group.
    sigma2_noise
        float64, (n_optics, N/2+1).
    scale_correction
        float64, (n_scale_groups,).
    avg_norm_correction, sigma2_offset_angst2, sigma2_fudge
        Model values (offset variance in Å^2).
    ctf
        Rules of the CTF.
    orientation_grid, translation_grid, point_group, perturbation
        The sampling; perturbation is a fraction of a step.
    local_search
        None for a search over all orientations with the class and direction priors.
    considered_class
        None: all classes; otherwise int64, one entry a particle of the table: only this class.
    do_cross_correlation
        First iteration with ``--firstiter_cc``.
    do_norm_correction, do_scale_correction, do_map
        ``--norm``, ``--scale``, not ``--no_map``.
    zero_mask, particle_diameter_angst, width_mask_edge_px
        The soft mask on the particles.
    adaptive_fraction, max_significants
        Significance (0 or less: no limit).
    score_at_coarse_size
        ``--strict_highres_exp``: the fine pass uses c_g as well.
    skip_align, skip_rotate
        Keep orientations and shifts, or orientations only.
    consistent_offset_prior
        False: RELION's form of the offset prior (specification E, Q1).
    move_psi_prior
        True: the psi window follows the symmetry mate (specification E, Q5).
    random_seed
        Of the noise-filled masks.
    """

    ori_size: int
    pixel_size_angst: float
    current_size: int
    padding_factor: float
    references: Sequence[ReferenceTransform | None]
    pdf_class: NDArray[np.float64]
    pdf_direction: NDArray[np.float64]
    data_vs_prior: NDArray[np.float64]
    geometry: Sequence[ImageGeometry]
    sigma2_noise: NDArray[np.float64]
    scale_correction: NDArray[np.float64]
    avg_norm_correction: float
    sigma2_offset_angst2: float
    sigma2_fudge: float
    ctf: CtfRules
    orientation_grid: OrientationGrid
    translation_grid: TranslationGrid
    point_group: PointGroup
    perturbation: float
    local_search: LocalSearch | None
    considered_class: NDArray[np.int64] | None
    do_cross_correlation: bool
    do_norm_correction: bool
    do_scale_correction: bool
    do_map: bool
    zero_mask: bool
    particle_diameter_angst: float
    width_mask_edge_px: float
    adaptive_fraction: float
    max_significants: int
    score_at_coarse_size: bool
    skip_align: bool
    skip_rotate: bool
    consistent_offset_prior: bool
    move_psi_prior: bool
    random_seed: int

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.pdf_class)

    @property
    def references_are_on_device(self) -> bool:
        """The references never were on the host; the sums stay on the device as well."""
        return any(isinstance(r, DeviceReferenceTransform) for r in self.references)

    @property
    def r_max(self) -> int:
        """R = min(S/2, N/2), Fourier pixels."""
        return min(self.current_size // 2, self.ori_size // 2)

    @property
    def keeps_orientation(self) -> bool:
        """The particle's own orientation is the only one."""
        return self.skip_align or self.skip_rotate

    @property
    def oversampling(self) -> int:
        """Adaptive oversampling order."""
        return self.orientation_grid.oversampling

    @property
    def n_child_orientations(self) -> int:
        """Fine orientations of a coarse one: 8^o, or 1 if orientations are kept."""
        return 1 if self.keeps_orientation else int(8**self.oversampling)

    @property
    def n_child_translations(self) -> int:
        """Fine translations of a coarse one: 4^o, or 1 if shifts are kept."""
        return 1 if self.skip_align else int(4**self.oversampling)

    @property
    def n_coarse_translations(self) -> int:
        """Translations of the coarse pass."""
        return 1 if self.skip_align else self.translation_grid.n_trans

    @property
    def is_dense(self) -> bool:
        """All images share all coarse orientations, so that the coarse pass is a matrix product."""
        return self.local_search is None and not self.keeps_orientation

    def coarse_translations_angst(self) -> NDArray[np.float64]:
        """Unperturbed coarse translations, (n, 2) as (x, y), Å."""
        if self.skip_align:
            return np.zeros((1, 2))
        return self.translation_grid.coarse

    def translations_px(self, pixel_size_angst: float, fine: bool) -> NDArray[np.float64]:
        """Perturbed translations in pixels of an optics group, (n, 2) as (x, y).

        Fine ones are listed coarse translation by coarse translation, children innermost.
        """
        if self.skip_align:
            return np.zeros((1, 2))
        grid = self.translation_grid
        angst = grid.children().reshape(-1, 2) if fine else grid.coarse
        moved = angst + grid.perturbation_shift_angst(self.perturbation)
        return np.asarray(moved / pixel_size_angst)
