"""Where the images of a run come from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clrelion.io.mrc_stack import ImageReader
from clrelion.io.particle_table import ParticleTable
from clrelion.options import RefineOptions
from clrelion.parallel.communicator import Communicator
from clrelion.particles.loader import ImageSource, ParticleImages, PrereadImages
from clrelion.particles.scratch import ScratchImages, names_in_scratch
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
    options: RefineOptions, state: RunState, own: NDArray[np.int64], comm: Communicator
) -> ImageSource:
    """Open the particle images for this rank, or what copies of them the options ask for.

    Parameters
    ----------
    own
        int64; particles of the rank's share.

    Raises
    ------
    ImageError
        They do not fit into memory, one cannot be read, or there is no copy to use again.
    OptionsError
        The scratch folder cannot be written to.
    """
    table, folder = state.table, options.scratch_dir
    if folder is not None and options.reuse_scratch:
        table = replace(table, image_name=names_in_scratch(table, folder))
    images: ImageSource = particle_images(table, state.image_folder or None)
    if options.preread_images:
        return PrereadImages(images, table, own)
    if folder is not None and not options.reuse_scratch:
        keep_free = int(1e9 * options.keep_free_scratch_gb)
        return ScratchImages(images, table, len(own), folder, keep_free, comm.local_size)
    return images


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
