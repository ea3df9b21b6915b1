"""The program in this process, as its command line starts it, and small sets of real particles."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shlex
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import mrcfile
import numpy as np

from clrelion.cli import refine as program

ROOT = Path(__file__).resolve().parents[2]
BETAGAL = ROOT / "examples" / "betagal"
BOX = 80
PIXEL = 3.415102
TEST_DEVICE = os.environ.get("CLRELION_TEST_DEVICES", "cpu").split(",")[0].strip()

# The command of shared/data/README.md, and what a few particles can do in a second.
README_OPTIONS = (
    "--ctf --flatten_solvent --zero_mask --oversampling 1 --healpix_order 2 --offset_range 5 "
    "--offset_step 2 --norm --scale --pad 2 --firstiter_cc --random_seed 42 "
    "--dont_combine_weights_via_disc --pool 30 --auto_refine --split_random_halves "
    "--ref ref.mrc --particle_diameter 200 --ini_high 40 --sym D2 --auto_local_healpix_order 4 "
    "--low_resol_join_halves 40 --device cpu"
)
QUICK_OPTIONS = (
    "--i particles.star --ref ref.mrc --o out/run --ctf --flatten_solvent --zero_mask --norm "
    "--scale --firstiter_cc --ini_high 40 --particle_diameter 200 --sym D2 --healpix_order 1 "
    "--offset_range 2 --offset_step 2 --random_seed 7 --device cpu"
)
CLASS3D = f"{QUICK_OPTIONS} --tau2_fudge 4 --iter 2"
REFINE3D = f"{QUICK_OPTIONS} --auto_refine --split_random_halves --low_resol_join_halves 40"


@dataclass
class Ended:
    """Exit code and output of a run."""

    code: int
    out: str
    err: str


@contextlib.contextmanager
def undisturbed_logging() -> Iterator[None]:
    """The program sets up logging for its process; this one has others to serve."""
    loggers = [logging.getLogger(name) for name in ("clrelion", "py.warnings")]
    before = [(log.level, log.handlers, log.propagate) for log in loggers]
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for log, (level, handlers, propagate) in zip(loggers, before, strict=True):
            log.setLevel(level)
            log.handlers, log.propagate = handlers, propagate


def run_refine(folder: Path, arguments: str, with_report: bool = False) -> Ended:
    """Run ``clrelion_refine`` with a folder as its working directory; pictures take seconds.

    ``--device cpu`` stands for the first device of ``CLRELION_TEST_DEVICES`` where that is set.
    """
    arguments = arguments.replace("--device cpu", f"--device {shlex.quote(TEST_DEVICE)}")
    out, err = io.StringIO(), io.StringIO()
    before = Path.cwd()
    os.chdir(folder)
    try:
        with (
            undisturbed_logging(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            contextlib.nullcontext()
            if with_report
            else mock.patch("clrelion.report.live.write_report", return_value=None),
        ):
            code = program.refine(shlex.split(arguments), program="clrelion_refine")
    finally:
        os.chdir(before)
    return Ended(code, out.getvalue(), err.getvalue())


def succeed(folder: Path, arguments: str, with_report: bool = False) -> Ended:
    """Run ``clrelion_refine``, which must end well."""
    ended = run_refine(folder, arguments, with_report)
    assert ended.code == 0, ended.err[-2000:]
    return ended


def changed(command: str, options: str) -> str:
    """Give a command line other or further options, each of them once."""
    values: dict[str, list[str]] = {}
    for line in (command, options):
        name = ""
        for token in shlex.split(line):
            if token.startswith("--"):
                name = token
                values[name] = []
            else:
                values[name].append(token)
    return shlex.join(word for name, rest in values.items() for word in (name, *rest))


def write_small_set(folder: Path, n: int = 24) -> None:
    """Write the first real particles as particles.star and particles.mrcs, with ref.mrc."""
    lines = (BETAGAL / "particles.star").read_text().splitlines()
    rows = [i for i, line in enumerate(lines) if "@particles.mrcs" in line]
    # two micrographs, so that there are two scale groups
    kept = [
        line.replace("micrograph1", "micrograph2") if i > rows[n // 2] else line
        for i, line in enumerate(lines)
        if i not in rows[n:]
    ]
    (folder / "particles.star").write_text("\n".join(kept) + "\n")
    write_stack(folder / "particles.mrcs", mrcfile.read(BETAGAL / "particles.mrcs")[:n])
    (folder / "ref.mrc").write_bytes((BETAGAL / "ref.mrc").read_bytes())


def write_stack(path: Path, images: np.ndarray) -> None:
    """Write a stack of images."""
    with warnings.catch_warnings(), mrcfile.new(path, overwrite=True) as file:
        warnings.simplefilter("ignore", RuntimeWarning)  # NaN may be meant
        file.set_data(np.asarray(images, dtype=np.float32))
        file.voxel_size = PIXEL


def read_map(path: Path) -> np.ndarray:
    """Voxels of a map, float64."""
    return np.asarray(mrcfile.read(path), dtype=np.float64)


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Relative L2 difference."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def map_fsc(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Fourier shell correlation of two maps of equal size, one value a shell to Nyquist."""
    n = first.shape[0]
    a, b = np.fft.rfftn(first), np.fft.rfftn(second)
    k, kx = np.fft.fftfreq(n) * n, np.arange(n // 2 + 1)
    r2 = k[:, None, None] ** 2 + k[None, :, None] ** 2 + kx[None, None, :] ** 2
    shell = np.floor(np.sqrt(r2) + 0.5).astype(int).ravel()
    weight = np.where((kx == 0) | (kx == n // 2), 1.0, 2.0)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(shell, (values * weight).ravel())[: n // 2 + 1]

    cross = total((a * b.conj()).real)
    return cross / np.sqrt(total(np.abs(a) ** 2) * total(np.abs(b) ** 2))
