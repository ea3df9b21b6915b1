"""Half-sets equal RELION's for one seed, mixtures are refused; the processing order."""

import ctypes
import dataclasses
import platform
from pathlib import Path

import numpy as np
import pytest

from clrelion.errors import StarError
from clrelion.io.particle_table import ParticleTable, read_particles
from clrelion.particles.half_sets import assign_half_sets, processing_order
from clrelion.particles.random_numbers import c_library_random, first_random_numbers


@pytest.fixture
def table(shared: Path) -> ParticleTable:
    return read_particles(shared / "data" / "steps" / "pol" / "particles.star", do_ctf=True)


def test_half_sets_are_relions(shared: Path, table: ParticleTable) -> None:
    assign_half_sets(table, seed=42)
    theirs = read_particles(shared / "data/steps/pol/auto/run_it000_data.star")
    assert theirs.image_name == table.image_name
    np.testing.assert_array_equal(table.random_subset, theirs.random_subset)
    assign_half_sets(theirs, seed=1)
    np.testing.assert_array_equal(table.random_subset, theirs.random_subset, "kept as they are")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="compares with glibc's rand()")
@pytest.mark.parametrize("seed", [0, 1, 42, 1234567890, -5, 2**31, 2**32 + 3])
def test_random_numbers_are_the_c_librarys(seed: int) -> None:
    libc = ctypes.CDLL(None)
    libc.srand(ctypes.c_uint(seed % 2**32))
    expected = [libc.rand() for _ in range(500)]
    assert c_library_random(seed, 500).tolist() == expected
    assert c_library_random(seed, 0).size == 0
    seeds = np.arange(-3, 9) + seed
    expected = [c_library_random(int(one), 1)[0] for one in seeds]
    assert first_random_numbers(seeds).tolist() == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((5, 0), r"particles\.star row \d+: rlnRandomSubset is 0, but other particles"),
        ((5, 3), r"particles\.star row \d+: rlnRandomSubset is 3; it must be 1 or 2"),
        ((slice(None), 1), r"particles\.star: half-set 2 is empty"),
        ((slice(None), 2), r"particles\.star: half-set 1 is empty"),
    ],
)
def test_mixtures_are_refused(
    table: ParticleTable, change: tuple[int | slice, int], message: str
) -> None:
    table.random_subset[:] = np.arange(table.n) % 2 + 1
    where, value = change
    table.random_subset[where] = value
    with pytest.raises(StarError, match=message) as error:
        assign_half_sets(table, seed=42)
    if where == 5:
        assert f"row {table.source_row[5]}:" in str(error.value)


def test_processing_order(table: ParticleTable) -> None:
    table = dataclasses.replace(table, optics_group=np.arange(table.n) % 3)
    every = processing_order(table, seed=7)
    assert sorted(every.tolist()) == list(range(table.n))
    assert (np.diff(table.optics_group[every]) >= 0).all()
    np.testing.assert_array_equal(every, processing_order(table, seed=7))
    assert (every != processing_order(table, seed=8)).any()
    assign_half_sets(table, seed=42)
    halves = [processing_order(table, 7, half) for half in (1, 2)]
    np.testing.assert_array_equal(np.concatenate(halves), processing_order(table, 7))
    for half, order in enumerate(halves, start=1):
        assert sorted(order.tolist()) == np.flatnonzero(table.random_subset == half).tolist()
        assert (np.diff(table.optics_group[order]) >= 0).all()
        assert (np.diff(order[table.optics_group[order] == 0]) < 0).any(), "shuffled"


def test_seed_0_keeps_the_order(table: ParticleTable) -> None:
    np.testing.assert_array_equal(processing_order(table, seed=0), np.arange(table.n))
    assign_half_sets(table, seed=42)
    order = processing_order(table, seed=0)
    np.testing.assert_array_equal(order, np.argsort(table.random_subset, kind="stable"))
