"""The Fourier pixels that take part: one flat list an optics group and size.

A half-transform of size e holds every pixel twice on its kx = 0 column, and corners that no
reference reaches.  The kernels work on a flat list of the distinct pixels instead: first those that
the references project to, then those that only back-projection uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.settings import ImageGeometry
from clrelion.fourier.shells import round_half_away, round_half_away_int

__all__ = ["PixelList", "make_pixel_list", "phase_ramps", "shell_lists"]

_PIXEL_MULTIPLE = 16
"""The kernels' vectors and tiles divide the padded length of a list."""


@dataclass(frozen=True)
class PixelList:
    """Flat list of Fourier pixels of one optics group at one size.

    Attributes
    ----------
    size
        e, px.
    kx, ky
        int32, (n,); kx >= 0, and ky >= 0 where kx = 0.
    shell
        int32, (n,); image shell.
    projected_xy, backprojected_xy
        float64, (n, 2); pixel in padded Fourier units of the references and of the sums:
        pf M (x, y) / rho (specification E 1.6, 1.7).
    n_projected
        The first pixels, which lie within the references' sphere.
    n_used
        The first pixels, which are projected or back-projected; others only complete the shells.
    is_backprojected
        bool, (n,); the pixel lies within the sums' sphere. Where the padding is no integer, that is
        not the references' sphere (specification E F.1, F.2; M 1.2).
    multiplicity
        float64, (n,); how often the pixel stands in the half-transform of size e.
    """

    size: int
    kx: NDArray[np.int32]
    ky: NDArray[np.int32]
    shell: NDArray[np.int32]
    projected_xy: NDArray[np.float64]
    backprojected_xy: NDArray[np.float64]
    n_projected: int
    n_used: int
    is_backprojected: NDArray[np.bool_]
    multiplicity: NDArray[np.float64]

    @property
    def n(self) -> int:
        """Pixels in the list."""
        return len(self.kx)

    @property
    def n_padded(self) -> int:
        """Length of a projection in memory."""
        return -(-max(1, self.n) // _PIXEL_MULTIPLE) * _PIXEL_MULTIPLE

    @property
    def n_shells(self) -> int:
        """Image shells 0 .. e/2."""
        return self.size // 2 + 1

    @cached_property
    def by_shell(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Pixels by shell, int32: where each begins, (n_shells + 1,), and the pixels, (n,)."""
        counts = np.bincount(self.shell, minlength=self.n_shells)
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        # short integers are sorted by their digits
        return start, np.argsort(self.shell.astype(np.int16), kind="stable").astype(np.int32)

    def kxy(self) -> NDArray[np.int32]:
        """Return (kx, ky) as int32, (n_padded, 2); zeros behind the list."""
        out = np.zeros((self.n_padded, 2), dtype=np.int32)
        out[: self.n, 0], out[: self.n, 1] = self.kx, self.ky
        return out

    def padded(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Fill ``values`` (n, ...) with zeros up to n_padded."""
        out = np.zeros((self.n_padded, *values.shape[1:]), dtype=values.dtype)
        out[: len(values)] = values
        return out

    def shells_of_model(self, remap: float, n_model_shells: int) -> NDArray[np.int64]:
        """Model shell of each pixel, -1 where there is none (specification E 1.8, 5.3)."""
        shells = round_half_away(self.shell / remap)
        return np.asarray(np.where(shells < n_model_shells, shells, -1))

    def places_in(self, other: PixelList) -> NDArray[np.int32]:
        """Index in ``other`` of each projected pixel of this list."""
        width = other.size + 1
        table = np.full((width, width), -1, dtype=np.int32)
        table[other.ky + other.size // 2, other.kx] = np.arange(other.n, dtype=np.int32)
        kept = slice(0, self.n_projected)
        return table[self.ky[kept] + other.size // 2, self.kx[kept]]


def make_pixel_list(
    geometry: ImageGeometry,
    size: int,
    r_max: int,
    projector_padding: float,
    backprojector_padding: float,
    completes_shells: bool = False,
) -> PixelList:
    """List the pixels of images of one optics group at one size.

    Parameters
    ----------
    geometry
        Sizes and optics of the group.
    size
        e, px: c_g or s_g.
    r_max
        R of the references, Fourier px of the model.
    projector_padding
        N_p / N of the references.
    backprojector_padding
        p of the command line (specification E F.2).
    completes_shells
        Also list, at the end, the pixels of shells up to e/2 that no reference reaches.

    Notes
    -----
    Which pixels on the cut-off sphere count is decided here in double precision, never from rotated
    coordinates (specification E F.1).
    """
    matrix = geometry.optics.mag_matrix
    return _pixel_list(
        size,
        r_max,
        projector_padding,
        backprojector_padding,
        completes_shells,
        geometry.remap,
        tuple(matrix.ravel().tolist()),
    )


@lru_cache(maxsize=4)
def _pixel_list(
    size: int,
    r_max: int,
    projector_padding: float,
    backprojector_padding: float,
    completes_shells: bool,
    remap: float,
    mag_matrix: tuple[float, ...],
) -> PixelList:
    """Make the list of `make_pixel_list`: both half-sets and the trials have the same ones."""
    half = size // 2
    ky, kx = np.mgrid[-half + 1 : half + 1, 0 : half + 1]
    distinct = (kx > 0) | (ky >= 0)
    kx, ky = kx[distinct], ky[distinct]
    squared = kx**2 + ky**2
    shell = round_half_away(np.sqrt(squared))
    xy = np.stack([kx, ky], axis=-1) @ np.reshape(mag_matrix, (2, 2)).T / remap
    length2 = np.square(xy[:, 0]) + np.square(xy[:, 1])
    in_band = shell <= half
    projected = (
        in_band
        & (squared <= half**2)
        & (length2 * projector_padding**2 <= np.floor(r_max * projector_padding) ** 2)
    )
    backprojected = in_band & (
        length2 * backprojector_padding**2
        <= round_half_away_int(r_max * backprojector_padding) ** 2
    )
    kinds = [projected, backprojected & ~projected]
    if completes_shells:
        kinds.append(in_band & ~projected & ~backprojected)
    order = np.concatenate([np.flatnonzero(kind) for kind in kinds])
    twice = (kx == 0) & (ky > 0) & (ky < half)
    made = PixelList(
        size=size,
        kx=kx[order].astype(np.int32),
        ky=ky[order].astype(np.int32),
        shell=shell[order].astype(np.int32),
        projected_xy=projector_padding * xy[order],
        backprojected_xy=backprojector_padding * xy[order],
        n_projected=int(projected.sum()),
        n_used=int((projected | backprojected).sum()),
        is_backprojected=backprojected[order],
        multiplicity=np.where(twice, 2.0, 1.0)[order],
    )
    for array in vars(made).values():
        if isinstance(array, np.ndarray):
            array.setflags(write=False)
    return made


def phase_ramps(
    translations_px: NDArray[np.float64], box_px: int, size: int
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Phase ramps that shift the content by each translation, separately in x and y.

    Parameters
    ----------
    translations_px
        float64, (n, 2) as (x, y), px of the image.
    box_px
        Period of the transform.
    size
        e: frequencies up to e/2.

    Returns
    -------
    tuple of numpy.ndarray
        complex128, (n, e/2+1) for kx = 0 .. e/2 and (n, e+1) for ky = -e/2 .. e/2.

    Notes
    -----
    Specification E 1.10, with the image's own box (E Q10).
    """
    half = size // 2
    factor = -2j * np.pi / box_px
    x = np.exp(factor * translations_px[:, :1] * np.arange(half + 1))
    y = np.exp(factor * translations_px[:, 1:] * np.arange(-half, half + 1))
    return x, y


@lru_cache(maxsize=16)
def shell_lists(
    box_px: int, size: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Pixels of a full half-transform by shell, for the power of an image.

    Shells up to e/2 hold the pixels of the window of size e, those beyond all pixels of the box.
    One more list follows: the whole window of size e, corners and doubled column included
    (cross-correlation, specification E 5.4 (b)).

    Parameters
    ----------
    box_px
        n.
    size
        e <= n.

    Returns
    -------
    start
        int32, (n/2 + 3,); list s is ``pixel[start[s]:start[s + 1]]``.
    pixel
        int32; flat index into the (n, n/2+1) half-transform.
    n_pixels
        int64, (n/2 + 1,); pixels of each shell.
    """
    n, half = box_px, size // 2
    row = np.arange(n)
    ky = np.where(row <= n // 2, row, row - n)[:, None]
    kx = np.arange(n // 2 + 1)[None, :]
    shell = round_half_away(np.sqrt(kx**2 + ky**2))
    in_window = (kx <= half) & (ky <= half) & (ky > -half)
    counted = ((kx > 0) | (ky >= 0)) & (shell <= n // 2) & (in_window | (shell > half))
    flat = np.flatnonzero(counted)
    order = np.argsort(shell.ravel()[flat], kind="stable")
    n_pixels = np.bincount(shell.ravel()[flat], minlength=n // 2 + 1)
    window = np.flatnonzero(in_window)
    start = np.concatenate([[0], np.cumsum(n_pixels), [len(flat) + len(window)]])
    pixel = np.concatenate([flat[order], window])
    lists = start.astype(np.int32), pixel.astype(np.int32), n_pixels
    for array in lists:
        # all callers get the same ones
        array.setflags(write=False)
    return lists
