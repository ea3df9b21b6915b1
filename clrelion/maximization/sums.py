"""What the E-step hands over: back-projection sums and parameter sums (specification M 1, 4.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clrelion.errors import NumericalError
from clrelion.fourier.padded import centred_shape
from clrelion.fourier.shells import (
    centred_z_chunks,
    round_half_away_int,
    shell_sums,
    squared_radius_shells,
)
from clrelion.maximization.symmetrise import symmetrised

__all__ = [
    "SMALLEST_WEIGHT_SUM",
    "BackprojectionSums",
    "ParameterSums",
    "ShellWeights",
    "join_half_sets",
    "join_low_resolution",
    "low_resolution_join_shell",
]

SMALLEST_WEIGHT_SUM = 1e-6
"""Below this total weight a class is not reconstructed (specification M 4.3)."""


@dataclass(frozen=True)
class ShellWeights:
    """Weights of a class by shell, over the voxels with |x|^2 < P^2 (specification M 3).

    Attributes
    ----------
    counts
        int64, (N/2+1,); voxels.
    sums, square_sums
        float64, (N/2+1,); of the weights and of their squares.
    """

    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    square_sums: NDArray[np.float64]


@dataclass
class BackprojectionSums:
    """Back-projected data and weights of one class of one half-set.

    Attributes
    ----------
    data
        complex64 or complex128, (M, M, P+2) with M = 2(P+1)+1; centred half array: axes z, y from
        -(P+1), x from 0, padded Fourier pixels.
    weight
        float32 or float64, same shape.
    padding_factor
        p of the command line (not the projector's N_p/N, specification E F.2).
    r_max
        R, Fourier pixels.
    ori_size
        N, voxels.

    Raises
    ------
    ValueError
        if shapes and sizes do not belong together.
    """

    data: NDArray[Any]
    weight: NDArray[Any]
    padding_factor: float
    r_max: int
    ori_size: int

    def __post_init__(self) -> None:
        """Check the shapes against R and p."""
        expected = centred_shape(self.padding_factor, self.r_max)
        if self.data.shape != expected or self.weight.shape != expected:
            raise ValueError(
                f"back-projection sums for R = {self.r_max} and padding {self.padding_factor} need"
                f" the shape {expected}, not {self.data.shape} and {self.weight.shape}"
            )
        if not np.iscomplexobj(self.data) or np.iscomplexobj(self.weight):
            raise ValueError("back-projected data must be complex and their weights real")

    @classmethod
    def zeros(
        cls, padding_factor: float, r_max: int, ori_size: int, dtype: Any = np.float64
    ) -> BackprojectionSums:
        """Make empty sums; ``dtype`` is that of the weight, float32 or float64."""
        shape = centred_shape(padding_factor, r_max)
        kind = np.result_type(dtype, np.complex64)
        data, weight = np.zeros(shape, dtype=kind), np.zeros(shape, dtype=dtype)
        return cls(data, weight, padding_factor, r_max, ori_size)

    @property
    def padded_radius(self) -> int:
        """P = rnd(p R), padded Fourier pixels."""
        return int(self.data.shape[2]) - 2

    def is_empty(self) -> bool:
        """Tell whether the weights are too small to reconstruct from (specification M 4.3)."""
        return float(self.weight.sum(dtype=np.float64)) <= SMALLEST_WEIGHT_SUM

    def shell_weights(self) -> ShellWeights:
        """Sum the weights and their squares over the shells."""
        n_shells = self.ori_size // 2 + 1
        table = self._shell_table()
        counts = np.zeros(n_shells, dtype=np.int64)
        totals, square_totals = np.zeros(n_shells), np.zeros(n_shells)
        for planes, squared in centred_z_chunks(self.padded_radius):
            shells = table[squared]
            weight = self.weight[planes].astype(np.float64)
            counts += np.bincount(shells.ravel(), minlength=n_shells + 1)[:n_shells]
            totals += shell_sums(weight, shells, n_shells)
            square_totals += shell_sums(weight * weight, shells, n_shells)
        return ShellWeights(counts, totals, square_totals)

    def start_count(self, thresholds: NDArray[np.float64]) -> Callable[[], NDArray[np.int64]]:
        """Count the voxels of each shell whose weight reaches the shell's threshold.

        Parameters
        ----------
        thresholds
            float64, (N/2+1,); may be infinite.

        Returns
        -------
        callable
            Gives the counts, int64, (N/2+1,).
        """
        n_shells = thresholds.size
        table = self._shell_table()
        by_square = np.append(thresholds, np.inf)[table]
        measured = np.zeros(n_shells, dtype=np.int64)
        for planes, squared in centred_z_chunks(self.padded_radius):
            covered = self.weight[planes] >= by_square[squared]
            chosen = table[squared[covered]]
            measured += np.bincount(chosen, minlength=n_shells + 1)[:n_shells]
        return lambda: measured

    def _shell_table(self) -> NDArray[np.int64]:
        """Map squared padded radii to shells; voxels with r^2 >= P^2 go one past the last shell."""
        radius, n_shells = self.padded_radius, self.ori_size // 2 + 1
        table = squared_radius_shells(3 * (radius + 1) ** 2, self.padding_factor)
        return np.where(np.arange(table.size) < radius**2, np.minimum(table, n_shells), n_shells)

    def copy(self) -> BackprojectionSums:
        """Return sums with their own arrays."""
        return BackprojectionSums(
            self.data.copy(), self.weight.copy(), self.padding_factor, self.r_max, self.ori_size
        )

    def add(self, other: BackprojectionSums) -> None:
        """Add other sums of the same geometry, in place."""
        _require_same_geometry(self, other)
        self.data += other.data
        self.weight += other.weight

    def hermitian_repair(self) -> None:
        """Complete the x = 0 plane, in place; must precede `symmetrise`.

        Notes
        -----
        Specification M 1.3: Friedel mates are added, not averaged, and the origin is left alone.
        """
        origin = self.padded_radius + 1
        for array in (self.data, self.weight):
            plane = array[:, :, 0]
            kept = plane[origin, origin]
            repaired = plane + plane[::-1, ::-1].conj()
            repaired[origin, origin] = kept
            array[:, :, 0] = repaired

    def symmetrise(self, operators: ArrayLike) -> None:
        """Add the symmetry copies of a point group, in place.

        Parameters
        ----------
        operators
            float, (n, 3, 3); rotation matrices of the group acting on (x, y, z), with or without
            the identity.

        Notes
        -----
        Specification M 1.4: a sum, not a mean, and only within the radius P.
        """
        self.data, self.weight = symmetrised(self.data, self.weight, operators)


def low_resolution_join_shell(
    ori_size: int,
    pixel_size_angst: float,
    join_resolution_angst: float,
    current_resolution_inv_angst: float,
) -> int:
    """Give the shell up to which the half-sets share their data.

    Parameters
    ----------
    ori_size
        N, voxels.
    pixel_size_angst
        Å/px.
    join_resolution_angst
        ``--low_resol_join_halves``, Å; not positive: no joining.
    current_resolution_inv_angst
        current resolution of the previous iteration, 1/Å.

    Returns
    -------
    ceil(N a / max(join, 1/current)); -1 without joining.  Specification M 1.5.
    """
    if join_resolution_angst <= 0:
        return -1
    resolution = join_resolution_angst
    if current_resolution_inv_angst > 0:
        resolution = max(resolution, 1.0 / current_resolution_inv_angst)
    return math.ceil(ori_size * pixel_size_angst / resolution)


def join_low_resolution(first: BackprojectionSums, second: BackprojectionSums, shell: int) -> None:
    """Average the two half-sets within a sphere, in place.

    Parameters
    ----------
    first, second
        symmetrised sums of the half-sets, changed.
    shell
        radius rL from `low_resolution_join_shell`; negative: nothing is done.

    Raises
    ------
    NumericalError
        if the sphere is larger than the data.

    Notes
    -----
    Specification M 1.5.
    """
    if shell < 0:
        return
    _require_same_geometry(first, second)
    if shell > first.r_max:
        raise NumericalError(
            f"--low_resol_join_halves reaches shell {shell} but the data end at {first.r_max};"
            " give a larger value in Å"
        )
    squared_limit = round_half_away_int(first.padding_factor * shell) ** 2
    for planes, squared in centred_z_chunks(first.padded_radius):
        inside = squared <= squared_limit
        if not inside.any():
            continue
        for name in ("data", "weight"):
            one, two = getattr(first, name)[planes], getattr(second, name)[planes]
            mean = 0.5 * (one[inside] + two[inside])
            one[inside] = mean
            two[inside] = mean


def join_half_sets(first: BackprojectionSums, second: BackprojectionSums) -> BackprojectionSums:
    """Return the total of two half-sets, as the final iteration uses it (specification M 4.1.7)."""
    total = first.copy()
    total.add(second)
    return total


@dataclass
class ParameterSums:
    """All other sums of one half-set over its particles.

    Attributes
    ----------
    pdf_class
        float64, (n_classes,); sum of posterior weights.
    pdf_direction
        float64, (n_classes, n_directions).
    sigma2_offset_sum
        weighted squared offsets from the prior, Å^2.
    sigma2_noise
        float64, (n_optics, N/2+1); weighted squared residuals on model shells.
    ctf2
        float64, (n_optics, N/2+1); sum of max(0.001, scale) CTF^2, premultiplied groups only.
    sumw_group
        float64, (n_optics,); sum of posterior weights.
    scale_xa, scale_aa
        float64, (n_scale_groups,); products for the intensity scale.
    norm_sum
        sum of the new norm corrections.
    log_likelihood
        sum of the particles' log-likelihoods.
    pmax_sum
        sum of the particles' largest posteriors.

    Notes
    -----
    Specification M 4.2, E 5.6.
    """

    pdf_class: NDArray[np.float64]
    pdf_direction: NDArray[np.float64]
    sigma2_noise: NDArray[np.float64]
    ctf2: NDArray[np.float64]
    sumw_group: NDArray[np.float64]
    scale_xa: NDArray[np.float64]
    scale_aa: NDArray[np.float64]
    sigma2_offset_sum: float = 0.0
    norm_sum: float = 0.0
    log_likelihood: float = 0.0
    pmax_sum: float = 0.0

    @classmethod
    def zeros(
        cls, n_classes: int, n_directions: int, n_optics: int, n_scale_groups: int, ori_size: int
    ) -> ParameterSums:
        """Make empty sums for a model of ``ori_size`` voxels."""
        n_shells = ori_size // 2 + 1
        return cls(
            pdf_class=np.zeros(n_classes),
            pdf_direction=np.zeros((n_classes, n_directions)),
            sigma2_noise=np.zeros((n_optics, n_shells)),
            ctf2=np.zeros((n_optics, n_shells)),
            sumw_group=np.zeros(n_optics),
            scale_xa=np.zeros(n_scale_groups),
            scale_aa=np.zeros(n_scale_groups),
        )

    @property
    def total_weight(self) -> float:
        """Sum of posterior weights over all classes."""
        return float(self.pdf_class.sum())

    def add(self, other: ParameterSums) -> None:
        """Add the sums of other particles, in place.

        Raises
        ------
        ValueError
            if the sums belong to models of different sizes.
        """
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if np.shape(mine) != np.shape(theirs):
                raise ValueError(
                    f"sums of {field.name} have the shapes {np.shape(mine)} and {np.shape(theirs)}"
                )
            setattr(self, field.name, mine + theirs)

    def copy(self) -> ParameterSums:
        """Return sums with their own arrays."""
        return self.from_vector(self.to_vector(), self)

    def to_vector(self) -> NDArray[np.float64]:
        """Pack everything into one float64 vector, for a reduction over processes."""
        return np.concatenate([np.ravel(getattr(self, field.name)) for field in fields(self)])

    @classmethod
    def from_vector(cls, vector: Sequence[float] | NDArray[Any], like: Any) -> ParameterSums:
        """Unpack a vector of `to_vector`; ``like`` is a ParameterSums of the same shapes."""
        values: dict[str, Any] = {}
        start = 0
        packed = np.asarray(vector, dtype=np.float64)
        for field in fields(cls):
            shape = np.shape(getattr(like, field.name))
            stop = start + math.prod(shape)
            part = packed[start:stop].reshape(shape)
            values[field.name] = part.copy() if shape else float(part)
            start = stop
        return cls(**values)


def _require_same_geometry(first: BackprojectionSums, second: BackprojectionSums) -> None:
    one = (first.padding_factor, first.r_max, first.ori_size)
    two = (second.padding_factor, second.r_max, second.ori_size)
    if one != two:
        raise ValueError(f"back-projection sums differ in (padding, R, box): {one} against {two}")
