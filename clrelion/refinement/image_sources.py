"""Where the images of a run come from."""

from __future__ import annotations

import numpy as np

from clrelion.io.mrc_stack import ImageReader
from clrelion.io.particle_table import ParticleTable
from clrelion.options import RefineOptions
from clrelion.particles.loader import ParticleImages, PrereadImages
from clrelion.refinement.state import RunState

__all__ = ["particle_images", "reconstruct_images"]


def particle_images(
    options: RefineOptions, table: ParticleTable, folder: str | None = None
) -> ParticleImages | PrereadImages:
    """Open the particle images; with ``--preread_images`` read them all.

    Parameters
    ----------
    folder
        Where images were when the run began; None: the STAR file's folder.

    Raises
    ------
    ImageError
        One is missing or has the wrong box.
    """
    images = ParticleImages(table, ImageReader(table.star_path, folder=folder))
    images.verify()
    if options.preread_images:
        return PrereadImages(images, table, np.arange(table.n))
    return images


def reconstruct_images(options: RefineOptions, state: RunState) -> ParticleImages | None:
    """Open the images that the last iteration of auto-refine back-projects, if there are any.

    Raises
    ------
    ImageError
        One is missing or has the wrong box.

    Notes
    -----
    Specification E 2.2 (rlnReconstructImageName).
    """
    table = state.table
    if not options.auto_refine or table.reconstruct_image_name is None:
        return None
    reader = ImageReader(table.star_path, folder=state.image_folder or None)
    images = ParticleImages(table, reader, use_reconstruct_images=True)
    images.verify()
    return images
