"""Images read in parts by several threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from clrelion.errors import ImageError
from clrelion.fourier.transforms import set_workers
from clrelion.io.mrc_stack import ImageReader
from clrelion.io.particle_table import ParticleTable
from clrelion.particles import read_ahead
from clrelion.particles.loader import ParticleImages
from clrelion.particles.read_ahead import ReadAhead, reader_threads
from clrelion.particles.scratch import ScratchImages
from tests.expectation.small_run import optics_group, particle_table

BOX, N, STACK = 6, 60, 7


@pytest.fixture
def pixels() -> Any:
    return np.random.default_rng(0).standard_normal((N, BOX, BOX)).astype(np.float32)


@pytest.fixture
def table(tmp_path: Path, pixels: Any) -> ParticleTable:
    """Particles in many small stacks."""
    made = particle_table([optics_group("one", BOX, 2.0)], [0] * N)
    for first in range(0, N, STACK):
        path = tmp_path / f"s{first}.mrcs"
        with mrcfile.new(path) as mrc:
            mrc.set_data(pixels[first : first + STACK])
        for i in range(first, min(N, first + STACK)):
            made.image_name[i] = f"{i - first + 1}@{path}"
    return made


@pytest.fixture(autouse=True)
def parts_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "PART_BYTES", 4 * 4 * BOX**2)


def images_of(table: ParticleTable) -> ParticleImages:
    return ParticleImages(table, ImageReader(table.star_path, max_open=2))


def test_every_image_comes_to_its_place(table: ParticleTable, pixels: Any) -> None:
    """Whatever the order, though few stacks may be open at a time."""
    rng = np.random.default_rng(1)
    with ReadAhead(table, images_of(table), n_threads=4) as ahead:
        orders = [rng.permutation(N)[:n] for n in (N, 1, 17)] + [np.arange(N)]
        for order, read in [(order, ahead.read(order)) for order in orders]:
            batch = read.result()
            np.testing.assert_array_equal(batch.images, pixels[order])
            np.testing.assert_array_equal(batch.ids, order)


def test_the_first_error_counts(
    table: ParticleTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though another one is met before it."""
    for i in (30, 8, 13):
        table.image_name[i] = table.image_name[i].replace("@", "9@")
    images = images_of(table)
    read_now, is_late = images.read, threading.Event()

    def read(ids: Any, out: Any = None) -> Any:
        if 8 in ids:
            assert is_late.wait(10)
        try:
            return read_now(ids, out)
        finally:
            if 13 in ids:
                threading.Timer(0.1, is_late.set).start()

    monkeypatch.setattr(images, "read", read)
    with ReadAhead(table, images, n_threads=4) as ahead:
        failing = ahead.read(np.arange(N))
        with pytest.raises(ImageError, match=r"small\.star row 9: 29@.*holds only 7 images"):
            failing.result()
        assert ahead.read(np.arange(8)).result().ids.tolist() == list(range(8))


def test_a_stack_that_is_cut_off_meanwhile(table: ParticleTable, tmp_path: Path) -> None:
    images = images_of(table)
    images.verify()
    with open(tmp_path / "s14.mrcs", "r+b") as file:
        file.truncate(1024 + 3 * 4 * BOX**2 + 10)
    with ReadAhead(table, images, n_threads=2) as ahead:
        read = ahead.read(np.arange(N))
        with pytest.raises(ImageError, match=r"row 1[57]: .*s14\.mrcs: has become shorter"):
            read.result()


def test_bad_images_are_named_in_their_order(
    table: ParticleTable, pixels: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i, value in ((40, np.nan), (3, -np.inf), (21, np.inf)):
        with mrcfile.open(tmp_path / f"s{i // STACK * STACK}.mrcs", "r+") as mrc:
            mrc.data[i % STACK, 2, 3] = value
    pixels[5, 0, :2] = 3e38  # large numbers are numbers
    with ReadAhead(table, images_of(table), n_threads=4) as ahead, caplog.at_level(logging.WARNING):
        batch = ahead.read(np.arange(N)).result()
    assert batch.bad_ids.tolist() == [3, 21, 40]
    assert len(batch.images) == N - 3
    told = [record.getMessage() for record in caplog.records]
    assert [f"small.star row {i + 1}: {table.image_name[i]} holds" in text
            for i, text in zip((3, 21, 40), told, strict=True)] == [True] * 3  # fmt: skip


def test_what_does_not_land_is_an_error(table: ParticleTable) -> None:
    class Landing:
        @contextmanager
        def part(self, span: slice) -> Iterator[Any]:
            yield np.empty((span.stop - span.start, BOX, BOX), dtype=np.float32)
            if span.start == 8:
                raise MemoryError("nowhere to go")

    with ReadAhead(table, images_of(table), n_threads=3) as ahead:
        read = ahead.read_to(np.arange(20), Landing())
        with pytest.raises(MemoryError, match="nowhere"):
            read.result()


def test_scratch_copies_that_several_threads_make(
    table: ParticleTable, pixels: Any, tmp_path: Path
) -> None:
    images = images_of(table)
    scratch = ScratchImages(images, table, N, str(tmp_path), 0)
    order = np.random.default_rng(2).permutation(N)
    with ReadAhead(table, scratch, n_threads=4) as ahead:
        for _ in range(2):
            np.testing.assert_array_equal(ahead.read(order).result().images, pixels[order])
            for stack in tmp_path.glob("*.mrcs"):
                stack.unlink()
            images.read = None  # type: ignore[method-assign,assignment]


def test_threads_end_with_the_context(table: ParticleTable) -> None:
    with ReadAhead(table, images_of(table), n_threads=3) as ahead:
        ahead.read(np.arange(N)).result()
    assert not [t for t in threading.enumerate() if t.name.startswith("read-ahead")]


def test_how_many_threads_read() -> None:
    try:
        for n_cores, n_threads in ((1, 1), (2, 1), (6, 3), (64, 4)):
            set_workers(n_cores)
            assert reader_threads() == n_threads
    finally:
        set_workers(None)
