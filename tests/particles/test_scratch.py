"""Copies of images on a local disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clrelion.cli.scratch import scratch
from clrelion.errors import ImageError, OptionsError
from clrelion.io.mrc_stack import ImageReader
from clrelion.io.particle_table import ParticleTable, read_particles
from clrelion.particles import scratch as scratch_module
from clrelion.particles.loader import ParticleImages
from clrelion.particles.scratch import FOLDER, ScratchImages, names_in_scratch
from tests.reference.refine_program import (
    CLASS3D,
    changed,
    read_map,
    run_refine,
    succeed,
    write_small_set,
)

N = 24
IMAGE_BYTES = 4 * 80**2


class CountedImages:
    """Images of the set; counts what is read."""

    def __init__(self, table: ParticleTable) -> None:
        self._images = ParticleImages(table, ImageReader(table.star_path))
        self.n_read = 0

    def read(self, ids: Any, out: Any = None) -> Any:
        self.n_read += len(ids)
        return self._images.read(ids, out)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_small_set(tmp_path, N)
    (tmp_path / "disk").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def table(folder: Path) -> ParticleTable:
    return read_particles(folder / "particles.star")


def test_each_image_is_read_once(table: ParticleTable) -> None:
    images = CountedImages(table)
    copies = ScratchImages(images, table, N, "disk", 0)
    expected = images.read(np.arange(N))
    images.n_read = 0
    for ids in (np.arange(0, 10), np.arange(5, 15)[::-1], np.arange(N), np.arange(N)[::-1]):
        np.testing.assert_array_equal(copies.read(ids), expected[ids])
    assert images.n_read == N
    # the file has no name: nothing is left, however the process ends
    assert os.listdir("disk") == []


def test_a_disk_that_is_too_small(
    table: ParticleTable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two ranks share room for eleven images and leave the rest of the disk alone."""
    monkeypatch.setattr(scratch_module, "_free_bytes", lambda _: 11 * IMAGE_BYTES + 10**6)
    images = CountedImages(table)
    with caplog.at_level("INFO"):
        copies = ScratchImages(images, table, N, "disk", 10**6, n_sharing=2)
    assert "for 23 % of the images; the others are read in place" in caplog.text
    expected = images.read(np.arange(N))
    copies.read(np.arange(N))
    images.n_read = 0
    np.testing.assert_array_equal(copies.read(np.arange(N)), expected)
    assert images.n_read == N - 5
    monkeypatch.setattr(scratch_module, "_free_bytes", lambda _: 0)
    none = ScratchImages(images, table, N, "disk", 10**6)
    np.testing.assert_array_equal(none.read(np.arange(N)), expected)


def test_no_such_folder(table: ParticleTable) -> None:
    with pytest.raises(OptionsError, match="--scratch_dir nowhere: nothing can be written there"):
        ScratchImages(CountedImages(table), table, N, "nowhere", 0)


def test_a_copy_that_stays(
    folder: Path, table: ParticleTable, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--scratch_dir", "disk", "--keep_free_scratch", "0"]
    assert scratch(["copy", "--i", "particles.star", *arguments]) == 0
    assert f"{N} of {N} images copied to disk" in capsys.readouterr().out
    copied = read_particles(folder / "disk" / FOLDER / "particles.star")
    assert names_in_scratch(table, "disk") == copied.image_name
    np.testing.assert_array_equal(
        CountedImages(copied).read(np.arange(N)), CountedImages(table).read(np.arange(N))
    )
    (folder / "particles.mrcs").rename("moved.mrcs")
    with pytest.raises(ImageError):
        CountedImages(table).read(np.arange(N))
    CountedImages(copied).read(np.arange(N))
    assert scratch(["remove", *arguments]) == 0
    assert os.listdir("disk") == []
    with pytest.raises(ImageError, match="make the copy on each node"):
        names_in_scratch(table, "disk")


def test_part_of_a_set(
    table: ParticleTable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scratch_module, "_free_bytes", lambda _: 7 * IMAGE_BYTES)
    arguments = ["--i", "particles.star", "--scratch_dir", "disk", "--keep_free_scratch", "0"]
    assert scratch(["copy", *arguments]) == 0
    assert f"7 of {N} images copied to disk; there is no room for more" in capsys.readouterr().out
    names = names_in_scratch(table, "disk")
    assert [new == old for new, old in zip(names, table.image_name, strict=True)] == (
        [False] * 7 + [True] * (N - 7)
    )


def test_copy_without_particles(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert scratch(["copy", "--scratch_dir", "disk"]) == 1
    assert "--i is missing" in capsys.readouterr().err


def test_runs_find_the_same(folder: Path) -> None:
    """With copies made on the way, and from a copy that was made before."""
    command = changed(CLASS3D, "--iter 1 --healpix_order 0")
    succeed(folder, changed(command, "--o plain/run"))
    done = succeed(folder, changed(command, "--o way/run --scratch_dir disk"))
    assert "Scratch: 0.0 GB in disk for 100 % of the images" in done.out
    assert scratch(["copy", "--i", "particles.star", "--scratch_dir", "disk"]) == 0
    again = changed(command, "--o again/run --scratch_dir disk --reuse_scratch")
    assert f"{N} of {N} images are read from disk/{FOLDER}" in succeed(folder, again).out
    expected = read_map(folder / "plain/run_it001_class001.mrc")
    for name in ("way", "again"):
        found = read_map(folder / f"{name}/run_it001_class001.mrc")
        np.testing.assert_array_equal(found, expected)
    data = (folder / "again/run_it001_data.star").read_text()
    assert "@particles.mrcs" in data
    assert FOLDER not in data
    lonely = run_refine(folder, changed(command, "--o x/run --reuse_scratch"))
    assert lonely.code == 1
    assert "--reuse_scratch needs --scratch_dir DIR" in lonely.err
