"""Debian's RELION 3.1.3 as an oracle: run a program, write what it reads."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import starfile
from numpy.typing import NDArray


def run_relion(program: str, arguments: str, folder: Path) -> None:
    """Run a RELION program in a folder; skips the test where it is not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [path, *arguments.split()], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]


def write_mrc(path: Path, data: NDArray[Any], pixel_size_angst: float) -> NDArray[np.float64]:
    """Write float32 data and return what a reader gets back."""
    single = np.asarray(data, dtype=np.float32)
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(single)
        file.voxel_size = pixel_size_angst
    return single.astype(np.float64)


def read_mrc(path: Path) -> NDArray[np.float64]:
    return np.asarray(mrcfile.read(path), dtype=np.float64)


def write_star(path: Path, optics: dict[str, Any], particles: dict[str, Any]) -> None:
    """Write a particle STAR file; particle columns are sequences of equal length."""
    lines = ["# version 30001", ""]
    rows = {label: [value] for label, value in optics.items()}
    for name, table in (("optics", rows), ("particles", particles)):
        lines += ["", f"data_{name}", "", "loop_"]
        lines += [f"_{label} #{i + 1}" for i, label in enumerate(table)]
        lines += [" ".join(map(str, row)) for row in zip(*table.values(), strict=True)] + [""]
    path.write_text("\n".join(lines) + "\n")


def read_model_spectra(path: Path, i_class: int = 1) -> dict[str, NDArray[np.float64]]:
    """Read the columns of one class of a ``_model.star``, without the prefix ``rln``."""
    table = starfile.read(path)[f"model_class_{i_class}"]
    return {name.removeprefix("rln"): table[name].to_numpy(dtype=float) for name in table}


def read_model(path: Path) -> dict[str, Any]:
    """Read all blocks of a ``_model.star``."""
    blocks: dict[str, Any] = starfile.read(path)
    return blocks


def assert_as_written(found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Compare with numbers of a STAR file: six decimals, or seven digits below 0.001."""
    is_small = (np.abs(expected) < 1e-3) & (expected != 0)
    np.testing.assert_allclose(found[is_small], expected[is_small], rtol=2e-6)
    is_large = np.abs(expected) > 1e5
    np.testing.assert_allclose(found[is_large], expected[is_large], rtol=2e-6)
    between = ~is_small & ~is_large
    np.testing.assert_allclose(found[between], expected[between], rtol=1e-6, atol=6e-7)
