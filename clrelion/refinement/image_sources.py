"""Where the images of a run come from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clrelion.io.mrc_stack import ImageReader
from clrelion.io.particle_table import ParticleTable
from clrelion.options import RefineOptions
from clrelion.particles.loader import ParticleImages, PrereadImages
from clrelion.refinement.state import RunState

__all__ = ["images_of_rank", "particle_images", "reconstruct_images"]


def particle_images(table: ParticleTable, folder: str | None = None) -> ParticleImages:
    """Open the particle images, without looking for any.

    Parameters
    ----------
    folder
        Where images were when the run began; None: the STAR file's folder.
    """
    return ParticleImages(table, ImageReader(table.star_path, folder=folder))


def images_of_rank(
    options: RefineOptions, state: RunState, own: NDArray[np.int64]
) -> ParticleImages | PrereadImages:
    """Open the particle images; with ``--preread_images`` read those of this rank's share.

    Parameters
    ----------
    own
        int64; particles of the share.

    Raises
    ------
    ImageError
        They do not fit into memory, or one cannot be read.
    """
    images = particle_images(state.table, state.image_folder or None)
    return PrereadImages(images, state.table, own) if options.preread_images else images


def reconstruct_images(options: RefineOptions, state: RunState) -> ParticleImages | None:
    """Open the images that the last iteration of auto-refine back-projects, if there are any.

    Notes
    -----
    Specification E 2.2 (rlnReconstructImageName).
    """
    table = state.table
    if not options.auto_refine or table.reconstruct_image_name is None:
        return None
    reader = ImageReader(table.star_path, folder=state.image_folder or None)
    return ParticleImages(table, reader, use_reconstruct_images=True)
