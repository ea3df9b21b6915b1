"""MTF files of detectors (specification E 2.10)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clrelion.errors import StarError
from clrelion.io.mtf import read_mtf, read_mtfs
from clrelion.io.optics import OpticsGroup

_HEAD = "data_\n\nloop_\n_rlnResolutionInversePixel #1\n_rlnMtfValue #2\n"


def group(mtf_file: str | None, detector: float | None = None) -> OpticsGroup:
    return OpticsGroup(
        "g", 1, 300.0, 2.7, 0.1, 4.0, 64, False, False, 0.0, 0.0, (), (), np.eye(2), mtf_file,
        detector,
    )  # fmt: skip


def mtf(path: Path, rows: str = "0.0 1.0\n0.25 0.6\n0.5 0.2\n") -> str:
    path.write_text(_HEAD + rows, encoding="utf-8")
    return str(path)


def test_frequencies_are_those_of_the_detector(tmp_path: Path) -> None:
    """1/px of the micrograph as recorded, which may have been binned since."""
    path = mtf(tmp_path / "k2.star")
    other = mtf(tmp_path / "k3.star", "0.0 1.0\n0.5 0.5\n")
    curves = read_mtfs([group(path, 1.0), group(other)], "particles.star")
    assert curves is not None
    np.testing.assert_allclose(curves[0].at(np.array([0.0, 0.125, 0.25, 9.0])), [1, 0.8, 0.6, 0.2])
    np.testing.assert_allclose(curves[1].at(np.array([0.0625])), [0.75])


def test_one_detector_for_all_needs_nothing() -> None:
    """Not even the file."""
    assert read_mtfs([group("missing.star"), group("missing.star")], "p.star") is None
    assert read_mtfs([group(None)], "p.star") is None


def test_beside_the_particle_file(tmp_path: Path) -> None:
    mtf(tmp_path / "a.star")
    mtf(tmp_path / "b.star")
    groups = [group("a.star"), group("b.star")]
    assert read_mtfs(groups, str(tmp_path / "particles.star")) is not None
    assert read_mtfs(groups, "elsewhere.star", str(tmp_path)) is not None


def test_mistakes(tmp_path: Path) -> None:
    good = mtf(tmp_path / "good.star")
    with pytest.raises(StarError, match="no rlnMtfFileName"):
        read_mtfs([group(good), group(None)], "p.star")
    with pytest.raises(StarError, match=r"missing\.star"):
        read_mtfs([group(good), group("missing.star")], "p.star")
    for rows, message in (
        ("0.0 1.0\n0.5 0.0\n", "row 2"),
        ("0.3 1.0\n0.2 0.5\n", "increase"),
    ):
        bad = mtf(tmp_path / f"{message[:3]}.star", rows)
        with pytest.raises(StarError, match=message):
            read_mtf(bad, 1.0)
    (tmp_path / "no.star").write_text("data_x\n\n_rlnVoltage 300\n", encoding="utf-8")
    with pytest.raises(StarError, match="rlnMtfValue"):
        read_mtf(str(tmp_path / "no.star"), 1.0)
