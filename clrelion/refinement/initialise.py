"""What a run starts from: references, noise spectra, signal spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clrelion.errors import ImageError, NumericalError, OptionsError
from clrelion.fourier.masks import fill_background
from clrelion.fourier.shells import (
    half_transform_shells,
    half_transform_shells_3d,
    round_half_away_int,
    shell_means,
)
from clrelion.fourier.transforms import (
    forward_2d,
    forward_3d,
    rescale_image,
    rescale_map,
    window_map,
)

FloatArray = npt.NDArray[np.float64]

# Differences of pixel sizes (Å) that count: between map and images, and between optics groups.
_REFERENCE_PIXEL_TOLERANCE_ANGST = 0.001
_IMAGE_PIXEL_TOLERANCE_ANGST = 1e-4

# Images transformed at once while noise spectra are estimated: bounds the memory.
_IMAGES_AT_ONCE = 64


@dataclass(frozen=True)
class Reference:
    """A start reference on the grid of the model.

    Attributes
    ----------
    map
        float64, (N, N, N) as [z, y, x]; real space, origin at N//2.
    pixel_size_angst
        Å.
    """

    map: FloatArray
    pixel_size_angst: float

    @property
    def ori_size(self) -> int:
        """Box of the model, px."""
        return int(self.map.shape[0])


def prepare_reference(
    data: npt.NDArray[np.floating],
    header_pixel_size_angst: float,
    *,
    image_box_px: int,
    image_pixel_size_angst: float,
    ref_angpix_angst: float = -1.0,
    trust_ref_size: bool = False,
    name: str = "the reference",
) -> Reference:
    """Bring a start map to the box and pixel size of the model.

    Parameters
    ----------
    data
        float, (n, n, n) as [z, y, x]; real space, origin at n//2.
    header_pixel_size_angst
        Pixel size in the header of the map, Å.
    image_box_px, image_pixel_size_angst
        Box, px, and pixel size, Å, of the first optics group.
    ref_angpix_angst
        Pixel size that overrides the header (``--ref_angpix``, or ``--angpix`` as in
        RELION 1.x), Å; <= 0: none.
    trust_ref_size
        Rescale and re-window a map that does not fit (``--trust_ref_size``) instead of refusing.
    name
        File name for messages.

    Returns
    -------
    Reference
        A new array; the map is not filtered.

    Raises
    ------
    ImageError
        If the map is no cube of even size, has no pixel size, holds NaN or infinity, or does
        not fit the images while `trust_ref_size` is off.

    Notes
    -----
    Specification E 3.1. With `trust_ref_size` the pixel size becomes that which the rounded
    size gives, so it can differ from the images' in the fourth digit.
    """
    if data.ndim != 3 or len(set(data.shape)) != 1 or data.shape[0] % 2:
        raise ImageError(f"{name}: a reference must be a cube of even size, not {data.shape}")
    if not np.all(np.isfinite(data)):
        raise ImageError(f"{name}: the map holds NaN or infinity; repair it or take another one")
    pixel_size = ref_angpix_angst if ref_angpix_angst > 0 else header_pixel_size_angst
    if not pixel_size > 0:
        raise ImageError(f"{name}: the header has no pixel size; give it with --ref_angpix")
    size = data.shape[0]
    volume = np.array(data, dtype=np.float64)
    differs = abs(pixel_size - image_pixel_size_angst) > _REFERENCE_PIXEL_TOLERANCE_ANGST
    if not differs and size == image_box_px:
        return Reference(volume, pixel_size)
    if not trust_ref_size:
        raise ImageError(
            f"{name}: {size} px of {pixel_size:g} Å, but the images have {image_box_px} px of "
            f"{image_pixel_size_angst:g} Å; rescale the map, correct its pixel size with "
            "--ref_angpix, or let --trust_ref_size do it"
        )
    new_size = round_half_away_int(size * pixel_size / image_pixel_size_angst)
    new_size -= new_size % 2
    if new_size < 2:
        raise ImageError(f"{name}: pixel size {pixel_size:g} Å is far too small for the images")
    if new_size != size:
        volume = np.asarray(rescale_map(volume, new_size), dtype=np.float64)
    volume = window_map(volume, image_box_px)
    return Reference(volume, size * pixel_size / new_size)


def default_particle_diameter_angst(
    ori_size: int, pixel_size_angst: float, width_mask_edge_px: float
) -> float:
    """Give the diameter used when ``--particle_diameter`` is not: ``(N - w)`` px (E 3.6), Å."""
    return (ori_size - width_mask_edge_px) * pixel_size_angst


class NoiseSpectrumEstimator:
    """Estimate the initial noise spectra from the images, batch by batch.

    Parameters
    ----------
    ori_size, pixel_size_angst
        Box, px, and pixel size, Å, of the model.
    optics_pixel_sizes_angst
        Pixel size of the images per optics group, Å.
    particle_diameter_angst
        Diameter of the image mask, Å.
    width_mask_edge_px
        Width of its edge, px.
    do_zero_mask
        Mask the images (``--zero_mask``).
    max_images_per_group
        ``--nr_parts_sigma2noise``; further images of a group are ignored.

    Notes
    -----
    Specification E 3.2, M 4.11. Hand over the images in processing order, those of half 1 first;
    one spectrum per optics group serves both halves.
    """

    def __init__(
        self,
        ori_size: int,
        pixel_size_angst: float,
        optics_pixel_sizes_angst: Sequence[float],
        particle_diameter_angst: float,
        width_mask_edge_px: float,
        do_zero_mask: bool,
        max_images_per_group: int = 1000,
    ) -> None:
        n_groups, n_shells = len(optics_pixel_sizes_angst), ori_size // 2 + 1
        self._ori_size = ori_size
        self._pixel_size_angst = pixel_size_angst
        self._optics_pixel_sizes_angst = tuple(optics_pixel_sizes_angst)
        self._particle_diameter_angst = particle_diameter_angst
        self._width_mask_edge_px = width_mask_edge_px
        self._do_zero_mask = do_zero_mask
        self._max_images_per_group = max_images_per_group
        self._n_images = np.zeros(n_groups, dtype=np.int64)
        self._sum_spectra = np.zeros((n_groups, n_shells))
        self._sum_image = np.zeros((ori_size, ori_size))

    def remaining(self, optics_group: int) -> int:
        """Count the images that an optics group (0-based) may still contribute."""
        return int(self._max_images_per_group - self._n_images[optics_group])

    def add(self, images: npt.NDArray[np.floating], optics_group: int) -> None:
        """Add images of one optics group.

        Parameters
        ----------
        images
            float, (n, box, box); real space, as stored; those beyond the limit are ignored.
        optics_group
            0-based.

        Raises
        ------
        NumericalError
            If a pixel is NaN or infinite; drop such images before.
        """
        used = images[: self.remaining(optics_group)]
        for start in range(0, len(used), _IMAGES_AT_ONCE):
            self._add(np.asarray(used[start : start + _IMAGES_AT_ONCE], np.float64), optics_group)

    def _add(self, images: FloatArray, optics_group: int) -> None:
        if not np.all(np.isfinite(images)):
            raise NumericalError(
                f"initial noise spectra: an image of optics group {optics_group + 1} has pixels "
                "that are NaN or infinite; remove it from the particle STAR file"
            )
        pixel_size = self._optics_pixel_sizes_angst[optics_group]
        if self._do_zero_mask:
            radius_px = self._particle_diameter_angst / (2.0 * pixel_size)
            images = fill_background(images, radius_px, self._width_mask_edge_px, ndim=2)
        if abs(pixel_size - self._pixel_size_angst) > _IMAGE_PIXEL_TOLERANCE_ANGST:
            new_size = round_half_away_int(images.shape[-1] * pixel_size / self._pixel_size_angst)
            images = rescale_image(images, new_size + new_size % 2)
        # zeros around smaller images hold no noise: the spectrum is that of a full box (E Q9)
        filled = min(1.0, (images.shape[-1] / self._ori_size) ** 2)
        images = window_map(images, self._ori_size, ndim=2)
        self._n_images[optics_group] += len(images)
        self._sum_image += images.sum(axis=0)
        power = np.sum(np.abs(forward_2d(images)) ** 2, axis=0)
        self._sum_spectra[optics_group] += _shell_means_2d(power) / filled

    def finish(self) -> FloatArray:
        """Compute the noise spectra.

        Returns
        -------
        numpy.ndarray
            float64, (n_optics_groups, N/2 + 1); variance of one component per model shell, all
            zero for groups without images.

        Raises
        ------
        NumericalError
            If there was no image at all, or a group's spectrum has no positive value.
        """
        n_all = int(self._n_images.sum())
        if n_all == 0:
            raise NumericalError("initial noise spectra: there is no image to take them from")
        of_average = _shell_means_2d(np.abs(forward_2d(self._sum_image / n_all)) ** 2)
        sigma2 = np.zeros_like(self._sum_spectra)
        for group in np.flatnonzero(self._n_images):
            mean = self._sum_spectra[group] / self._n_images[group]
            sigma2[group] = repair_noise_spectrum(0.5 * mean - 0.5 * of_average)
            if not np.all(sigma2[group] > 0):
                raise NumericalError(
                    f"initial noise spectra: the images of optics group {group + 1} do not "
                    "differ from each other; check the particle stack"
                )
        return sigma2


def _shell_means_2d(power: FloatArray) -> FloatArray:
    """Mean over all pixels of a half transform per shell; the column kx = 0 counts whole."""
    n = power.shape[0]
    return shell_means(power, half_transform_shells(n), n // 2 + 1)


def repair_noise_spectrum(sigma2: npt.ArrayLike) -> FloatArray:
    """Replace the values of a noise spectrum that are not positive.

    Parameters
    ----------
    sigma2
        float64, (N/2 + 1,).

    Returns
    -------
    numpy.ndarray
        A new array: by increasing shell the value before if that is positive, else the next
        positive one.

    Notes
    -----
    Specification E 3.2. A spectrum without any positive value is returned as it is.
    """
    repaired = np.array(sigma2, dtype=np.float64)
    for shell in np.flatnonzero(repaired <= 0):
        if shell > 0 and repaired[shell - 1] > 0:
            repaired[shell] = repaired[shell - 1]
        else:
            later = np.flatnonzero(repaired[shell + 1 :] > 0)
            if len(later):
                repaired[shell] = repaired[shell + 1 + later[0]]
    return repaired


def initial_spectra(
    reference_map: npt.NDArray[np.floating],
    sigma2_noise: npt.ArrayLike,
    *,
    n_particles: int,
    class_probability: float,
    tau2_fudge: float,
) -> tuple[FloatArray, FloatArray]:
    """Estimate signal spectrum and data-versus-prior ratio of a start reference.

    Parameters
    ----------
    reference_map
        float, (N, N, N) as [z, y, x]; low-passed start map, not corrected for gridding.
    sigma2_noise
        float64, (n_optics_groups, N/2 + 1); groups that are all zero are left out.
    n_particles
        Particles of this half, or all.
    class_probability
        Share of the class.
    tau2_fudge
        ``--tau2_fudge``.

    Returns
    -------
    tuple of numpy.ndarray
        tau2 and data_vs_prior; float64, (N/2 + 1,).

    Raises
    ------
    OptionsError
        If no noise spectrum has a positive value in every shell.

    Notes
    -----
    Specification E 3.5, M 3.6.
    """
    size = reference_map.shape[0]
    spectra = np.atleast_2d(np.asarray(sigma2_noise, dtype=np.float64))
    spectra = spectra[np.any(spectra > 0, axis=1)]
    noise = spectra.mean(axis=0) if len(spectra) else np.zeros(size // 2 + 1)
    if not np.all(noise > 0):
        raise OptionsError(
            "the noise spectrum is not positive in every shell; check the file given with --sigma"
        )
    transform = forward_3d(np.asarray(reference_map, dtype=np.float64))
    power = shell_means(np.abs(transform) ** 2, half_transform_shells_3d(size), size // 2 + 1)
    tau2 = tau2_fudge * power * size**2 / 2.0
    per_shell = np.maximum(2.0 * np.arange(size // 2 + 1), 1.0)
    return tau2, n_particles * class_probability / noise * tau2 / per_shell
