"""Batches: optics groups apart, read ahead, bad pixels dropped, errors raised in place."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from clrelion.errors import ImageError
from clrelion.io.mrc import ImageReader
from clrelion.io.particle_table import ParticleTable, read_particles
from clrelion.particles import loader as loader_module
from clrelion.particles.loader import (
    BatchLoader,
    ParticleImages,
    PrereadImages,
    split_into_batches,
)
from clrelion.particles.normalisation import NormalisationCheck, check_normalisation

Source = ParticleImages | PrereadImages | ImageReader

N = 23
BOX = {1: 8, 2: 12}


def pixels(i: int, group: int) -> np.ndarray:
    return np.random.default_rng(i).normal(size=(BOX[group], BOX[group])).astype(np.float32)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ParticleTable:
    monkeypatch.chdir(tmp_path)
    rows = []
    for group in (1, 2):
        members = [i for i in range(N) if i % 2 + 1 == group]
        with mrcfile.new(f"g{group}.mrcs") as mrc:
            mrc.set_data(np.stack([pixels(i, group) for i in members]))
        rows += [(i, f"{k}@g{group}.mrcs", group) for k, i in enumerate(members, start=1)]
    text = "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnVoltage\n_rlnSphericalAberration\n"
    text += "_rlnImagePixelSize\n_rlnImageSize\n"
    text += "".join(f"{group} 300 2.7 1.5 {box}\n" for group, box in BOX.items())
    text += "\ndata_particles\n\nloop_\n_rlnImageName\n_rlnOpticsGroup\n_rlnReconstructImageName\n"
    text += "".join(f"{name} {group} 1@g{group}.mrcs\n" for _, name, group in sorted(rows))
    Path("p.star").write_text(text)
    return read_particles("p.star")


@pytest.fixture(params=["reader", "stacks", "preread"])
def source(request: pytest.FixtureRequest) -> Callable[[ParticleTable], Source]:
    def make(table: ParticleTable) -> Source:
        reader = ImageReader(table.star_path)
        if request.param == "reader":
            return reader
        images = ParticleImages(table, reader)
        if request.param == "stacks":
            return images
        return PrereadImages(images, table, np.arange(table.n))

    return make


def test_batches_hold_the_right_images(
    table: ParticleTable, source: Callable[[ParticleTable], Source]
) -> None:
    order = np.random.default_rng(3).permutation(N)
    order = order[np.argsort(table.optics_group[order], kind="stable")]
    loader = BatchLoader(table, order, 5, source(table))
    batches = list(loader)
    assert len(batches) == len(loader) == 6
    np.testing.assert_array_equal(np.concatenate([batch.ids for batch in batches]), order)
    for batch in batches:
        assert 1 <= len(batch.ids) <= 5
        assert batch.images.dtype == np.float32
        assert (table.optics_group[batch.ids] == batch.optics_group).all()
        assert batch.bad_ids.size == 0
        for i, image in zip(batch.ids.tolist(), batch.images, strict=True):
            np.testing.assert_array_equal(image, pixels(i, i % 2 + 1))
    assert [batch.ids.tolist() for batch in loader] == [batch.ids.tolist() for batch in batches]


def test_mixed_orders_are_cut_where_the_optics_group_changes() -> None:
    groups = np.array([0, 0, 1, 1, 1, 0])
    batches = split_into_batches(np.arange(6), groups, 2)
    assert [batch.tolist() for batch in batches] == [[0, 1], [2, 3], [4], [5]]
    assert split_into_batches(np.empty(0, np.int64), groups, 2) == []


def test_no_particles_no_batches(table: ParticleTable) -> None:
    assert not list(BatchLoader(table, np.empty(0, np.int64), 5, ImageReader()))
    with pytest.raises(ValueError, match="batch_size is 0"):
        BatchLoader(table, np.arange(3), 0, ImageReader())


def test_the_next_batch_is_read_while_one_is_used(
    table: ParticleTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    original = ParticleImages.read

    def read(self: ParticleImages, ids: np.ndarray, out: object = None) -> np.ndarray:
        assert threading.current_thread() is not threading.main_thread()
        reads.append(int(ids[0]))
        return original(self, ids)

    monkeypatch.setattr(ParticleImages, "read", read)
    order = np.arange(0, N, 2)
    iterator = iter(BatchLoader(table, order, 4, ImageReader("p.star")))
    next(iterator)
    deadline = threading.Event()
    for _ in range(500):
        if len(reads) >= 2:
            break
        deadline.wait(0.01)
    assert reads == [0, 8], "one batch ahead, not more"
    iterator.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("read-ahead")]


def test_bad_pixels_drop_the_particle(
    table: ParticleTable, caplog: pytest.LogCaptureFixture
) -> None:
    with mrcfile.mmap("g1.mrcs", "r+") as mrc:
        mrc.data[1, 3, 4] = np.nan
        mrc.data[2, 0, 0] = -np.inf
        mrc.data[3, 0, :2] = np.inf, -np.inf
        mrc.data[4, 0, :2] = 3e38
    order = np.flatnonzero(table.optics_group == 0)
    with caplog.at_level(logging.WARNING):
        batches = list(BatchLoader(table, order, 6, ImageReader("p.star")))
    assert batches[0].bad_ids.tolist() == order[1:4].tolist()
    assert batches[0].ids.tolist() == [order[0], order[4], order[5]]
    assert batches[0].images.shape == (3, 8, 8)
    assert len(caplog.records) == 3
    assert f"p.star row {table.source_row[order[1]]}: 2@g1.mrcs" in caplog.text
    only_bad = list(BatchLoader(table, order[1:4], 6, ImageReader("p.star")))
    assert only_bad[0].ids.size == 0
    assert only_bad[0].images.shape == (0, 8, 8)
    assert only_bad[0].optics_group == 0


def test_read_errors_reach_the_consumer_at_their_batch(table: ParticleTable) -> None:
    order = np.flatnonzero(table.optics_group == 0)
    table.image_name[order[5]] = "99@g1.mrcs"
    iterator = iter(BatchLoader(table, order, 5, ImageReader("p.star")))
    assert len(next(iterator).ids) == 5
    with pytest.raises(ImageError, match=rf"p\.star row {table.source_row[order[5]]}: 99@g1"):
        next(iterator)
    with pytest.raises(ImageError, match="99@g1"):
        ParticleImages(table, ImageReader("p.star")).verify()


def test_wrong_box_is_found_before_the_run(table: ParticleTable) -> None:
    table.optics[1].box_px = 10
    with pytest.raises(ImageError, match=r"g2\.mrcs is 12 x 12 px, .* rlnImageSize 10"):
        ParticleImages(table, ImageReader("p.star")).verify()


def test_reconstruct_images(table: ParticleTable) -> None:
    images = ParticleImages(table, ImageReader("p.star"), use_reconstruct_images=True)
    ids = np.flatnonzero(table.optics_group == 1)[2:4]
    np.testing.assert_array_equal(images.read(ids), np.stack([pixels(1, 2)] * 2))
    table.reconstruct_image_name = None
    with pytest.raises(ImageError, match="no rlnReconstructImageName"):
        ParticleImages(table, ImageReader("p.star"), use_reconstruct_images=True)


def test_preread_holds_each_image_once(
    table: ParticleTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader_module, "_PREREAD_CHUNK", 3)
    ids = np.arange(0, N - 3)
    source = ParticleImages(table, ImageReader("p.star"))
    preread = PrereadImages(source, table, ids)
    for stack in ("g1.mrcs", "g2.mrcs"):
        Path(stack).unlink()
    expected = sum(4 * table.optics[g].box_px ** 2 for g in table.optics_group[ids])
    assert preread.n_bytes == expected
    np.testing.assert_array_equal(preread.read(np.array([5, 1]))[1], pixels(1, 2))
    # of another process's share: read when asked for
    monkeypatch.setattr(source, "read", lambda ids, _: ids)
    assert preread.read(np.array([N - 1])).tolist() == [N - 1]


def test_normalisation() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(5, 32, 32)).astype(np.float32)
    images[1] += 0.7
    images[2] *= 0.3
    images[3] *= 2.5
    middle = slice(12, 20)
    images[4, middle, middle] += 100  # inside the particle: no matter
    bad = check_normalisation(images, 12.0)
    assert [b.index for b in bad] == [1, 2, 3]
    assert bad[0].mean == pytest.approx(0.7, abs=0.1)
    assert bad[2].stddev == pytest.approx(2.5, abs=0.2)
    assert check_normalisation(images, 30.0) == [], "no background"


def test_background_starts_beyond_the_rounded_squared_radius() -> None:
    image = np.zeros((1, 8, 8), np.float32)
    index = np.arange(8) - 4
    r2 = index[:, None] ** 2 + index[None, :] ** 2
    image[0, r2 > 4] = np.where(np.arange((r2 > 4).sum()) % 2, 1, -1)
    assert check_normalisation(image, 2.1) == [], "rnd(4.41) = 4"
    image[0, r2 == 5] = 50
    assert check_normalisation(image, 2.1)
    assert check_normalisation(image, np.sqrt(4.6)) == [], "rnd(4.6) = 5"


def test_few_unnormalised_images_are_one_warning(
    table: ParticleTable, caplog: pytest.LogCaptureFixture
) -> None:
    check = NormalisationCheck(table, particle_diameter_angst=3.0)
    with caplog.at_level(logging.WARNING):
        for batch in BatchLoader(table, np.arange(0, N, 2), 4, ImageReader("p.star")):
            check.inspect(batch)
        assert not caplog.records
        for batch in BatchLoader(table, np.arange(0, N, 4), 4, ImageReader("p.star")):
            batch.images *= 5
            check.inspect(batch)
        check.conclude()
    assert len(caplog.records) == 1
    assert "p.star: 6 of 18 images checked are not normalised" in caplog.text
    assert "the first at p.star row 1 (1@g1.mrcs): background mean" in caplog.text
    for batch in BatchLoader(table, np.arange(0, N), 4, ImageReader("p.star")):
        batch.images *= 5
        check.inspect(batch)
    with pytest.raises(ImageError, match="give --dont_check_norm"):
        check.conclude()


@pytest.mark.filterwarnings("ignore:Data array contains NaN")
def test_other_images_for_reconstruction(table: ParticleTable) -> None:
    """They come beside the particle's own; a bad one drops the particle, too."""
    reader = ImageReader(table.star_path)
    others = ParticleImages(table, reader, use_reconstruct_images=True)
    order = np.argsort(table.optics_group, kind="stable")
    for batch in BatchLoader(table, order, 5, ImageReader(table.star_path), others):
        assert batch.reconstruct_images is not None
        first = pixels(batch.optics_group, batch.optics_group + 1)
        for i, image, other in zip(
            batch.ids.tolist(), batch.images, batch.reconstruct_images, strict=True
        ):
            np.testing.assert_array_equal(image, pixels(i, batch.optics_group + 1))
            np.testing.assert_array_equal(other, first)
    assert table.reconstruct_image_name is not None
    stack = np.stack([pixels(0, 1), np.full((8, 8), np.nan, dtype=np.float32)])
    with mrcfile.new("other.mrcs") as mrc:
        mrc.set_data(stack.astype(np.float32))
    for i in range(N):
        table.reconstruct_image_name[i] = "2@other.mrcs" if i == 4 else "1@other.mrcs"
    members = np.flatnonzero(table.optics_group == 0)
    others = ParticleImages(table, reader, use_reconstruct_images=True)
    bad = next(iter(BatchLoader(table, members, 50, ImageReader(table.star_path), others)))
    np.testing.assert_array_equal(bad.bad_ids, [4])
    assert bad.reconstruct_images is not None
    assert len(bad.ids) == len(bad.images) == len(bad.reconstruct_images) == len(members) - 1
