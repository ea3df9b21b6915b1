"""Results do not depend on the memory plan: not on limits, tiles, or allocations that fail."""

from __future__ import annotations

import gc
import logging
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clrelion.cli.parser import parse_refine
from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceMemoryError
from clrelion.io.particle_table import read_particles
from clrelion.options import RefineOptions
from clrelion.parallel.communicator import Communicator
from clrelion.refinement import set_up
from clrelion.refinement.devices import open_session
from clrelion.refinement.run import run_refinement
from tests.reference.refine_program import (
    CLASS3D,
    REFINE3D,
    changed,
    map_fsc,
    read_map,
    write_small_set,
)

MIB = 2**20
FIRST = changed(REFINE3D, "--auto_iter_max 1 --healpix_order 2 --sym D2")
LAST = "--continue out/run_it001_optimiser.star --force_converge --auto_iter_max 3 --device cpu"
CLASSES = changed(CLASS3D, "--K 2 --iter 2")


def run(session: DeviceSession | None, arguments: str) -> None:
    """Run in this process, on a session of the run's own if there is none."""
    options = parse_refine(shlex.split(arguments)).options
    Path(options.output_root).parent.mkdir(exist_ok=True)
    run_refinement(options, arguments, session=session)


def peak_of(session: DeviceSession, arguments: str) -> int:
    """Run; gives the most bytes that were on the device."""
    before = session.allocated_bytes
    session.peak_bytes = 0
    run(session, arguments)
    return session.peak_bytes - before


@pytest.fixture(scope="module")
def cards() -> dict[str, DeviceSession]:
    """The test device as it is, and treated as a graphics card."""
    card = DeviceSession("cpu")
    card.is_cpu = False
    return {"cpu": DeviceSession("cpu"), "card": card}


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, cards: dict[str, DeviceSession]
) -> Iterator[Path]:
    """Folder with particles, the working directory, where a refinement has one iteration to go."""
    folder = tmp_path_factory.mktemp("limits")
    write_small_set(folder, n=16)
    before = Path.cwd()
    os.chdir(folder)
    run(cards["cpu"], FIRST)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def unlimited(place: Path, cards: dict[str, DeviceSession]) -> dict[str, None]:
    for name, session in cards.items():
        run(session, f"{LAST} --o {name}/run")
        run(session, changed(CLASSES, f"--o {name}/classes"))
    return dict.fromkeys(cards)


def assert_equal_results(found: str, expected: str, maps: list[str]) -> None:
    """Equal poses for 99.9 % of the particles, FSC of the maps at least 0.9999 in every shell."""
    one, two = (read_particles(f"{root}_data.star") for root in (found, expected))
    same = np.ones(one.n, dtype=bool)
    for name in ("rot_deg", "tilt_deg", "psi_deg", "origin_x_angst", "origin_y_angst"):
        same &= np.abs(getattr(one, name) - getattr(two, name)) < 1e-3
    same &= one.class_number == two.class_number
    assert same.mean() >= 0.999
    for name in maps:
        fsc = map_fsc(read_map(Path(f"{found}_{name}")), read_map(Path(f"{expected}_{name}")))
        assert fsc[1:].min() >= 0.9999


JOINED = ["class001.mrc", "half1_class001_unfil.mrc", "half2_class001_unfil.mrc"]


@pytest.mark.parametrize("limit", [64, 256, 1000])
@pytest.mark.parametrize("name", ["cpu", "card"])
def test_limits(cards: dict[str, DeviceSession], unlimited: None, name: str, limit: int) -> None:
    """Last iteration of auto-refine, to Nyquist, and a classification."""
    root = f"{name}{limit}"
    peak = peak_of(cards[name], f"{LAST} --o {root}/run --memory_limit {limit}MB")
    assert peak <= limit * MIB
    assert_equal_results(f"{root}/run", f"{name}/run", JOINED)
    peak = peak_of(cards[name], changed(CLASSES, f"--o {root}/classes --memory_limit {limit}MB"))
    assert peak <= limit * MIB
    maps = ["class001.mrc", "class002.mrc"]
    assert_equal_results(f"{root}/classes_it002", f"{name}/classes_it002", maps)


@pytest.mark.parametrize(("name", "limit"), [("cpu", 30), ("card", 30), ("card", 45)])
def test_tiles(
    cards: dict[str, DeviceSession],
    unlimited: None,
    caplog: pytest.LogCaptureFixture,
    name: str,
    limit: int,
) -> None:
    """Volumes of 17 and 35 MB in less: by tiles, and one after the other."""
    root = f"{name}{limit}"
    with caplog.at_level(logging.INFO, "clrelion"):
        peak = peak_of(cards[name], f"{LAST} --o {root}/run --memory_limit {limit}MB")
    assert "tiles" in caplog.text
    assert_equal_results(f"{root}/run", f"{name}/run", JOINED)
    assert peak <= limit * MIB


def files_of(root: str) -> dict[str, bytes]:
    """Poses, models and maps as they were written; names of the run taken out."""
    names = [*Path(root).parent.glob(f"{Path(root).name}*.mrc")]
    names += [*Path(root).parent.glob(f"{Path(root).name}*_data.star")]
    names += [*Path(root).parent.glob(f"{Path(root).name}*_model.star")]
    folder = str(Path(root).parent).encode()
    return {p.name: p.read_bytes().replace(folder, b"") for p in sorted(names)}


@pytest.mark.parametrize("name", ["cpu", "card"])
def test_bits_of_deterministic_runs(place: Path, name: str) -> None:
    """Without a limit and within 1 GB, 256 MB and 64 MB, where the sums are in tiles."""
    session = DeviceSession("cpu", deterministic=True)
    session.is_cpu = name == "cpu"
    found = []
    for limit in ("", "1000MB", "256MB", "64MB"):
        root = f"{name}bits{limit}"
        given = f"--deterministic --memory_limit {limit}" if limit else "--deterministic"
        run(session, f"{LAST} --o {root}/run {given}")
        found.append(files_of(f"{root}/run"))
        if limit in ("", "64MB"):
            run(session, changed(CLASSES, f"--o {root}/classes {given}"))
            found[-1] |= files_of(f"{root}/classes")
    assert len(found[0]) > len(found[1]) >= 8
    for other in found[1:]:
        assert [key for key in other if other[key] != found[0][key]] == []


Fails = Callable[[int, tuple[int, ...], int], bool]


class Failing:
    """Makes some allocations fail, as a device does whose memory others use too."""

    def __init__(self, session: DeviceSession, fails: Fails) -> None:
        self._empty = session.empty
        self._fails = fails
        self.n_calls = self.n_failed = 0

    def __call__(self, shape: Any, dtype: Any) -> Any:
        self.n_calls += 1
        if self._fails(
            self.n_calls, (shape,) if isinstance(shape, int) else tuple(shape), self.n_failed
        ):
            self.n_failed += 1
            raise DeviceMemoryError(f"array of {shape}: injected")
        return self._empty(shape, dtype)


def two_in_a_row(call: int, shape: tuple[int, ...], n_failed: int) -> bool:
    return 250 <= call < 252


def more_than_two_images(call: int, shape: tuple[int, ...], n_failed: int) -> bool:
    return 2 < shape[0] <= 16 and shape[1:] == (80, 80)


def first_volumes(call: int, shape: tuple[int, ...], n_failed: int) -> bool:
    """Fails twice where there should be room for the volumes."""
    return n_failed < 2 and int(np.prod(shape)) > 3 * 10**5


@pytest.mark.parametrize("fails", [two_in_a_row, more_than_two_images, first_volumes])
@pytest.mark.parametrize("name", ["cpu", "card"])
def test_failing_allocations(
    cards: dict[str, DeviceSession],
    unlimited: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    fails: Fails,
) -> None:
    """The plan is halved, the run says so and goes on to the same result."""
    session = cards[name]
    failing = Failing(session, fails)
    monkeypatch.setattr(session, "empty", failing)
    root = f"{name}failing"
    with caplog.at_level(logging.WARNING, "clrelion"):
        run(session, changed(CLASSES, f"--o {root}/classes"))
    monkeypatch.undo()
    gc.collect()  # tracebacks of the failures hold arrays
    assert failing.n_failed
    assert "going on with" in caplog.text
    maps = ["class001.mrc", "class002.mrc"]
    assert_equal_results(f"{root}/classes_it002", f"{name}/classes_it002", maps)


def test_the_memory_of_a_run_is_given_back(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its end: a notebook may go on for hours before Python looks for garbage."""
    opened: list[DeviceSession] = []

    def noted(options: RefineOptions, comm: Communicator) -> DeviceSession:
        opened.append(open_session(options, comm))
        return opened[0]

    monkeypatch.setattr(set_up, "open_session", noted)
    gc.collect()
    gc.disable()
    try:
        run(None, changed(CLASSES, "--o back/classes"))
    finally:
        gc.enable()
    (session,) = opened
    assert session.peak_bytes > 0
    assert session.held_bytes == 0
