"""Grids of orientations and translations, and the random perturbation applied at read-out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from clrelion.errors import OptionsError
from clrelion.orientations import healpix_grid
from clrelion.orientations.euler import direction_vector, euler_angles, euler_matrix
from clrelion.orientations.symmetry import PointGroup

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# RELION cleans the seams of the asymmetric unit only below this number of directions (E, Q22).
_SEAM_CLEANUP_BELOW = 4000

# Angles of so many children are kept: 2 MB, made in 20 ms.
_MOST_TABLED = 2**17

# Slack of the translation circle, Å² (Specification E 4.3).
_CIRCLE_SLACK_ANGST2 = 0.001


def angular_step_deg(healpix_order: int, oversampling: int = 0) -> float:
    """Angular step of a HEALPix order, degrees: ``360 / (6 * 2**(order + oversampling))``.

    Notes
    -----
    Specification E 4.1.
    """
    return float(360.0 / (6 * 2 ** (healpix_order + oversampling)))


@dataclass(frozen=True, eq=False)
class OrientationGrid:
    """Coarse orientations: directions of the asymmetric unit times in-plane angles.

    A coarse orientation has the index ``i_direction * n_psi + i_psi``; its children have the
    index ``i_child_direction * 2**oversampling + i_child_psi`` (psi innermost). Nothing here is
    perturbed: see :func:`perturb_orientations`.

    Attributes
    ----------
    healpix_order, oversampling
        Order of the coarse grid, and how many orders finer the children are.
    pixels
        int64, (n_dir,); nested HEALPix numbers, increasing.
    rot_deg, tilt_deg
        float64, (n_dir,); degrees; rot in [-180, 180], tilt in [0, 180].
    psi_deg
        float64, (n_psi,); degrees; 0, step, 2 step... below 360.
    psi_step_deg
        Step of `psi_deg`, degrees.

    Notes
    -----
    Specification E 4.1, 4.2, 4.4; M 7.2.
    """

    healpix_order: int
    oversampling: int
    pixels: IntArray
    rot_deg: FloatArray
    tilt_deg: FloatArray
    psi_deg: FloatArray
    psi_step_deg: float

    @classmethod
    def create(
        cls,
        healpix_order: int,
        psi_step_deg: float | None,
        point_group: PointGroup,
        limit_tilt_deg: float = -91.0,
        oversampling: int = 0,
    ) -> OrientationGrid:
        """Make the grid of a HEALPix order.

        Parameters
        ----------
        healpix_order
            Order of the coarse directions.
        psi_step_deg
            In-plane step, degrees; None or a value <= 0 for the angular step of the order.
            It is reduced so that it divides 360.
        point_group
            Directions are kept for one asymmetric unit of it.
        limit_tilt_deg
            Keep only side views (positive) or top views (negative) up to this tilt, degrees;
            absolute values from 90 on: no limit.
        oversampling
            How many orders finer the children are.

        Raises
        ------
        OptionsError
            If no direction remains, or the order or oversampling is out of range.
        """
        if oversampling < 0:
            raise OptionsError(f"--oversampling {oversampling}: must be 0 or more")
        rot, tilt = healpix_grid.directions(healpix_order)
        pixels = _select_directions(healpix_order, rot, tilt, point_group, limit_tilt_deg)
        if len(pixels) == 0:
            raise OptionsError(
                f"--healpix_order {healpix_order} leaves no direction for --sym "
                f"{point_group.name} and --limit_tilt {limit_tilt_deg:g}; use a higher order"
            )
        wanted = psi_step_deg if psi_step_deg is not None and psi_step_deg > 0 else None
        n_psi = math.ceil(360.0 / (wanted or angular_step_deg(healpix_order)))
        psi_step = 360.0 / n_psi
        return cls(
            healpix_order=healpix_order,
            oversampling=oversampling,
            pixels=pixels,
            rot_deg=rot[pixels],
            tilt_deg=tilt[pixels],
            psi_deg=np.arange(n_psi, dtype=np.float64) * psi_step,
            psi_step_deg=psi_step,
        )

    @property
    def n_dir(self) -> int:
        """Number of coarse directions."""
        return len(self.pixels)

    @property
    def n_psi(self) -> int:
        """Number of coarse in-plane angles."""
        return len(self.psi_deg)

    @property
    def n_child_dir(self) -> int:
        """Number of child directions of a coarse direction."""
        return int(4**self.oversampling)

    @property
    def n_child_psi(self) -> int:
        """Number of child in-plane angles of a coarse in-plane angle."""
        return int(2**self.oversampling)

    def angular_step_deg(self, oversampling: int = 0) -> float:
        """Angular step after oversampling, degrees."""
        return angular_step_deg(self.healpix_order, oversampling)

    def angles_of_children(self, child: IntArray) -> tuple[FloatArray, FloatArray]:
        """Angles of children of the coarse directions.

        Parameters
        ----------
        child
            int64, (n,); child c of direction d is number ``d * n_child_dir + c``. Children are not
            tested against the asymmetric unit again.

        Returns
        -------
        tuple of numpy.ndarray
            rot and tilt; float64, (n,), degrees.
        """
        if self.n_dir * self.n_child_dir <= _MOST_TABLED:
            rot, tilt = self._all_children
            return rot[child], tilt[child]
        parent, within = np.divmod(child, self.n_child_dir)
        ids = healpix_grid.children(self.healpix_order, self.pixels[parent], self.oversampling)
        return self._child_angles(np.take_along_axis(ids, within[:, None], axis=1)[:, 0])

    @cached_property
    def _all_children(self) -> tuple[FloatArray, FloatArray]:
        """Angles of all children, made once where the same ones are asked for again and again."""
        ids = healpix_grid.children(self.healpix_order, self.pixels, self.oversampling)
        return self._child_angles(ids.ravel())

    def _child_angles(self, ids: IntArray) -> tuple[FloatArray, FloatArray]:
        return healpix_grid.pixel_angles(self.healpix_order + self.oversampling, ids)

    def child_psis(self) -> FloatArray:
        """In-plane angles of the children, float64, (n_psi, 2**oversampling), degrees."""
        offsets = _child_offsets(self.psi_step_deg, self.oversampling)
        return np.asarray(self.psi_deg[:, None] + offsets, dtype=np.float64)


def _child_offsets(step: float, oversampling: int) -> FloatArray:
    """Offsets of the children from their parent along one axis, (2**oversampling,)."""
    n_children = 2**oversampling
    middles = 0.5 + np.arange(n_children, dtype=np.float64)
    return np.asarray(-step / 2 + middles * step / n_children, dtype=np.float64)


def _select_directions(
    order: int,
    rot_deg: FloatArray,
    tilt_deg: FloatArray,
    point_group: PointGroup,
    limit_tilt_deg: float,
) -> IntArray:
    """Pixels of one asymmetric unit within the tilt limit (Specification E 4.1, 4.4)."""
    vectors = direction_vector(rot_deg, tilt_deg)
    kept = np.flatnonzero(point_group.in_asymmetric_unit(rot_deg, tilt_deg, vectors))
    if point_group.order > 1 and len(kept) < _SEAM_CLEANUP_BELOW:
        half_pixel_deg = 0.5 * healpix_grid.maximum_pixel_radius_deg(order)
        kept = kept[point_group.first_of_equivalents(vectors[kept], half_pixel_deg)]
    limit = abs(limit_tilt_deg)
    if limit < 90.0:
        from_pole = np.abs(np.where(tilt_deg > 90.0, tilt_deg - 180.0, tilt_deg))[kept]
        kept = kept[from_pole >= limit if limit_tilt_deg > 0 else from_pole <= limit]
    return np.asarray(kept, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class TranslationGrid:
    """Coarse translations in a circle, and their children.

    Attributes
    ----------
    range_angst, step_angst
        Radius of the circle and distance of the grid points, Å.
    oversampling
        A coarse translation has ``4**oversampling`` children.
    coarse
        float64, (n_trans, 2) as (x, y), Å; unperturbed; x is the outer loop.

    Notes
    -----
    Specification E 4.3.
    """

    range_angst: float
    step_angst: float
    oversampling: int
    coarse: FloatArray

    @classmethod
    def create(
        cls, range_angst: float, step_angst: float, oversampling: int = 0
    ) -> TranslationGrid:
        """Make the grid.

        Raises
        ------
        OptionsError
            If the step is not positive or the range is negative.
        """
        if not step_angst > 0 or not range_angst >= 0:
            raise OptionsError(
                f"--offset_range ({range_angst:g} Å) must not be negative and --offset_step "
                f"({step_angst:g} Å) must be positive"
            )
        n_steps = math.ceil(range_angst / step_angst)
        axis = np.arange(-n_steps, n_steps + 1, dtype=np.float64) * step_angst
        x, y = np.meshgrid(axis, axis, indexing="ij")
        inside = x**2 + y**2 < range_angst**2 + _CIRCLE_SLACK_ANGST2
        return cls(range_angst, step_angst, oversampling, np.stack([x[inside], y[inside]], axis=-1))

    @property
    def n_trans(self) -> int:
        """Number of coarse translations."""
        return len(self.coarse)

    def children(self) -> FloatArray:
        """Child translations, float64, (n_trans, 4**oversampling, 2) as (x, y), Å; y innermost."""
        offsets = _child_offsets(self.step_angst, self.oversampling)
        dx, dy = np.meshgrid(offsets, offsets, indexing="ij")
        return self.coarse[:, None, :] + np.stack([dx.ravel(), dy.ravel()], axis=-1)

    def perturbation_shift_angst(self, perturbation: float) -> float:
        """Å to be added to x and y of every coarse and child translation at read-out."""
        return perturbation * self.step_angst


def advance_perturbation(perturbation: float, factor: float, random_number: int) -> float:
    """Draw the next random perturbation of the sampling.

    Parameters
    ----------
    perturbation
        Present value, fraction of a step; 0 at the start of a run.
    factor
        ``--perturb``, 0 to 1; 0 switches the perturbation off.
    random_number
        Of the C library, 0 .. 2**31 - 1.

    Returns
    -------
    float
        New value in [-factor, factor].

    Raises
    ------
    OptionsError
        If the factor is outside 0 to 1.

    Notes
    -----
    Specification E 4.5, 2.7; the advance is computed in float32, as RELION does. Advanced once when
    the sampling is set up and once at the start of each expectation step.
    """
    if not 0.0 <= factor <= 1.0:
        raise OptionsError(f"--perturb {factor:g}: must lie between 0 and 1")
    if factor == 0.0:
        return 0.0
    low, high = np.float32(0.5 * factor), np.float32(factor)
    advance = low + np.float32(random_number) / (np.float32(2**31 - 1) / (high - low))
    moved = perturbation + float(advance)
    return (moved + factor) % (2.0 * factor) - factor


@lru_cache(maxsize=4)
def perturbation_matrix(perturbation: float, step_deg: float) -> FloatArray:
    """Rotation applied to every orientation at read-out: ``A(a, a, a)``, a in degrees.

    Parameters
    ----------
    perturbation
        Fraction of a step.
    step_deg
        Angular step of the coarse grid, degrees.

    Returns
    -------
    numpy.ndarray
        float64, (3, 3); the matrix P of ``A(rot, tilt, psi) @ P``.

    Notes
    -----
    Specification E 4.5.
    """
    angle = perturbation * step_deg
    matrix = euler_matrix(angle, angle, angle)
    # all callers get the same one
    matrix.setflags(write=False)
    return matrix


def perturb_orientations(
    rot_deg: npt.ArrayLike,
    tilt_deg: npt.ArrayLike,
    psi_deg: npt.ArrayLike,
    perturbation: float,
    step_deg: float,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Perturbed Euler angles: those that are projected and written to files.

    Parameters
    ----------
    rot_deg, tilt_deg, psi_deg
        float64, shapes that broadcast together; unperturbed angles, degrees.
    perturbation
        Fraction of a step; with 0 the angles come back as they are (psi stays in [0, 360)).
    step_deg
        Angular step of the coarse grid, degrees.

    Returns
    -------
    tuple of numpy.ndarray
        rot, tilt, psi; float64, broadcast shape, degrees.

    Notes
    -----
    Specification E 4.5, 6.2.
    """
    rot, tilt, psi = np.broadcast_arrays(
        *(np.asarray(angle, dtype=np.float64) for angle in (rot_deg, tilt_deg, psi_deg))
    )
    if perturbation == 0.0:
        return rot.copy(), tilt.copy(), psi.copy()
    return euler_angles(euler_matrix(rot, tilt, psi) @ perturbation_matrix(perturbation, step_deg))
