"""A map from particles whose poses are known: back-projection and reconstruction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import OptionsError
from clrelion.expectation.settings import CtfRules
from clrelion.fourier.transforms import centre_half_transform, forward_2d
from clrelion.io.mrc_stack import ImageReader
from clrelion.io.particle_table import ParticleTable
from clrelion.maximization.reconstruct import reconstruct
from clrelion.maximization.sums import BackprojectionSums
from clrelion.orientations.euler import euler_matrix
from clrelion.orientations.symmetry import PointGroup
from clrelion.particles.loader import BatchLoader, HostBatch
from clrelion.projection.optics import SlicePixels
from clrelion.projection.slices import insert_slices

__all__ = ["PoseReconstruction", "map_of_sums", "particles_of", "sums_from_poses"]

_POINTS_PER_BATCH = 1 << 20
_DOUBLE_UP_TO = 384
"""Padded boxes larger than this are summed and transformed in single precision."""


@dataclass(frozen=True)
class PoseReconstruction:
    """How a map is made from poses.

    Attributes
    ----------
    ori_size, pixel_size_angst
        Box and pixel size of the map.
    symmetry
        Point group.
    padding
        Oversampling of Fourier space.
    max_resolution_angst
        Frequencies above this resolution are left out, Å; 0: up to Nyquist.
    ctf
        How the CTF enters.
    """

    ori_size: int
    pixel_size_angst: float
    symmetry: str = "C1"
    padding: float = 2.0
    max_resolution_angst: float = 0.0
    ctf: CtfRules = field(default_factory=lambda: CtfRules(correct=True, references_corrected=True))

    @classmethod
    def of_particles(
        cls, table: ParticleTable, pixel_size_angst: float | None = None, **others: object
    ) -> PoseReconstruction:
        """Box and pixel size from the first optics group."""
        first = table.optics[0]
        values: dict[str, object] = {
            "ori_size": first.box_px,
            "pixel_size_angst": pixel_size_angst or first.pixel_size_angst,
            **others,
        }
        return cls(**values)  # type: ignore[arg-type]

    @property
    def r_max(self) -> int:
        """R, Fourier pixels."""
        nyquist = self.ori_size // 2
        if self.max_resolution_angst <= 0:
            return nyquist
        extent = self.ori_size * self.pixel_size_angst
        return max(1, min(nyquist, int(np.ceil(extent / self.max_resolution_angst))))

    @property
    def precision(self) -> Literal["single", "double"]:
        """Of the sums and the transform: single halves the memory of large boxes."""
        return "double" if self.padding * self.ori_size <= _DOUBLE_UP_TO else "single"


def particles_of(
    table: ParticleTable, half_set: int = 0, class_number: int = 0
) -> NDArray[np.int64]:
    """Choose particles.

    Parameters
    ----------
    table
        Particles.
    half_set
        1 or 2; 0: both.
    class_number
        As in the file, from 1; 0: all.

    Returns
    -------
    int64: rows of the table, optics groups contiguous.

    Raises
    ------
    OptionsError
        There are none.
    """
    chosen = np.ones(table.n, dtype=np.bool_)
    if half_set > 0:
        chosen &= table.random_subset == half_set
    if class_number > 0:
        chosen &= table.class_number == class_number - 1
    ids = np.flatnonzero(chosen)
    if ids.size == 0:
        what = [f"half-set {half_set}"] if half_set else []
        what += [f"class {class_number}"] if class_number else []
        raise OptionsError(
            f"{table.star_path}: no particle belongs to {' and '.join(what)}; see rlnRandomSubset "
            "and rlnClassNumber"
        )
    return np.asarray(ids[np.argsort(table.optics_group[ids], kind="stable")], dtype=np.int64)


def sums_from_poses(
    table: ParticleTable,
    ids: NDArray[np.int64],
    how: PoseReconstruction,
    reader: ImageReader | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> BackprojectionSums:
    """Back-project particles in the orientations and with the shifts of their table.

    Parameters
    ----------
    table
        Particles.
    ids
        int64; rows, optics groups contiguous.
    how
        Map, CTF and symmetry.
    reader
        Access to the stacks; None: found as for a refinement.
    progress
        Called with the number of particles done since the last call.

    Returns
    -------
    BackprojectionSums
        Completed and symmetrised.

    Raises
    ------
    ImageError
        An image is missing or has the wrong box.

    Notes
    -----
    Specification M 1.1 to 1.4 with one pose a particle and the same noise in all pixels, as
    ``relion_reconstruct``. Images with NaN are left out.
    """
    group = PointGroup.from_name(how.symmetry)
    dtype = np.float64 if how.precision == "double" else np.float32
    sums = BackprojectionSums.zeros(how.padding, how.r_max, how.ori_size, dtype)
    pixels = {
        g: SlicePixels.create(
            table.optics[g], how.ori_size, how.pixel_size_angst, how.r_max, how.padding
        )
        for g in dict.fromkeys(table.optics_group[ids].tolist())
    }
    largest = max(len(p.kx) for p in pixels.values())
    batch_size = max(1, _POINTS_PER_BATCH // max(largest, 1))
    source = reader or ImageReader(table.star_path)
    for batch in BatchLoader(table, ids, batch_size, source):
        if len(batch.ids):
            _add(sums, table, batch, pixels[batch.optics_group], how.ctf)
        progress(len(batch.ids) + len(batch.bad_ids))
    sums.hermitian_repair()
    sums.symmetrise(group.operators)
    return sums


def _add(
    sums: BackprojectionSums,
    table: ParticleTable,
    batch: HostBatch,
    pixels: SlicePixels,
    rules: CtfRules,
) -> None:
    """Back-project a batch."""
    ids, optics = batch.ids, pixels.optics
    rows, columns = pixels.place
    transforms = centre_half_transform(forward_2d(batch.images.astype(np.float64)))
    # spectra of other boxes are brought to the area of the map's box (specification E Q9)
    data: NDArray[Any] = transforms[:, rows, columns] * pixels.remap**2
    offsets = np.stack([table.origin_x_angst[ids], table.origin_y_angst[ids]], axis=-1)
    data *= pixels.shift(offsets / optics.pixel_size_angst)
    data *= pixels.aberration().conj()
    if optics.ctf_corrected:
        weight = np.ones(data.shape)
    else:
        ctf = pixels.ctf(table, ids, rules)
        weight = ctf * ctf
        if not optics.ctf_premultiplied:
            data *= ctf
    matrices = euler_matrix(table.rot_deg[ids], table.tilt_deg[ids], table.psi_deg[ids])
    insert_slices(sums, pixels.xy, matrices, data, weight)


def map_of_sums(sums: BackprojectionSums, how: PoseReconstruction) -> NDArray[np.float64]:
    """Reconstruct the unregularised map of sums: float64, (N, N, N), real space."""
    return reconstruct(sums, None, precision=how.precision)
