"""There is never a second copy of a stack in the host's memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import mrcfile
import numpy as np
import pytest

from clrelion.io.mrc_stack import ImageReader
from clrelion.io.particle_table import ParticleTable, read_particles
from clrelion.particles.loader import BatchLoader, ImageSource, ParticleImages, PrereadImages

N, BOX = 3000, 32
STACK_BYTES = 4 * N * BOX**2

HEAD = """
data_optics

loop_
_rlnOpticsGroup #1
_rlnImagePixelSize #2
_rlnImageSize #3
_rlnVoltage #4
_rlnSphericalAberration #5
_rlnAmplitudeContrast #6
1 2.0 32 300 2.7 0.1

data_particles

loop_
_rlnImageName #1
_rlnOpticsGroup #2
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ParticleTable:
    folder = tmp_path_factory.mktemp("stack")
    stack = np.random.default_rng(0).standard_normal((N, BOX, BOX)).astype(np.float32)
    with mrcfile.new(folder / "stack.mrcs") as mrc:
        mrc.set_data(stack)
    rows = "".join(f"{i + 1}@{folder}/stack.mrcs 1\n" for i in range(N))
    (folder / "particles.star").write_text(HEAD + rows)
    return read_particles(folder / "particles.star")


def images_of(table: ParticleTable) -> ParticleImages:
    return ParticleImages(table, ImageReader(table.star_path))


def peak_bytes(work: Callable[[], object]) -> int:
    """Most bytes that a work had allocated at a time; memory maps are not counted."""
    tracemalloc.start()
    try:
        kept = work()
        peak = tracemalloc.get_traced_memory()[1]
        del kept
        return peak
    finally:
        tracemalloc.stop()


def read_all(table: ParticleTable, images: ImageSource) -> None:
    for batch in BatchLoader(table, np.arange(table.n), 100, images):
        assert batch.images.shape == (100, BOX, BOX)


def test_the_measure_sees_a_copy(table: ParticleTable) -> None:
    ids = np.arange(table.n)
    assert peak_bytes(lambda: images_of(table).read(ids)) >= STACK_BYTES


def test_a_stack_that_is_read_batch_by_batch(table: ParticleTable) -> None:
    """A batch in use, one on its way, and what a read takes."""
    assert peak_bytes(lambda: read_all(table, images_of(table))) < 0.25 * STACK_BYTES


def test_a_stack_that_is_read_before(table: ParticleTable) -> None:
    """One copy, and a part on its way into it."""
    ids = np.arange(table.n)
    peak = peak_bytes(lambda: PrereadImages(images_of(table), table, ids))
    assert STACK_BYTES <= peak < 1.25 * STACK_BYTES


def test_batches_of_a_stack_that_was_read_before(table: ParticleTable) -> None:
    images = PrereadImages(images_of(table), table, np.arange(table.n))
    assert peak_bytes(lambda: read_all(table, images)) < 0.25 * STACK_BYTES
