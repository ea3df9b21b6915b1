"""Particles from cryoSPARC, as pyem's csparc2star.py writes them.

Its files have no version line and no blanks in front of rows, number optics groups from cryoSPARC's
own (often not from 1), and before 2023 named the last column of the optics table rlnOpticsGroup1.
With --relion2 they are one table, with shifts in pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clrelion.errors import ImageError
from clrelion.io.mrc_stack import ImageReader
from clrelion.io.particle_table import ParticleTable, read_particles
from clrelion.particles.loader import ParticleImages
from tests.reference.refine_program import CLASS3D, PIXEL, changed, succeed, write_small_set

N = 12
MICROGRAPHS = ("S1/motioncorrected/0123_a_patch_aligned_doseweighted.mrc",
               "S1/motioncorrected/0456_b_patch_aligned_doseweighted.mrc")  # fmt: skip


def rows(source: ParticleTable, stack: str, pixels: bool) -> list[dict[str, str]]:
    scale = 1 / PIXEL if pixels else 1.0
    found = []
    for i in range(N):
        found.append({
            "rlnImageName": f"{i + 1:06d}@{stack}",
            "rlnMicrographName": MICROGRAPHS[i % 2],
            "rlnCoordinateX": f"{100 + 10 * i}",
            "rlnCoordinateY": f"{900 - 10 * i}",
            "rlnDefocusU": f"{source.defocus_u_angst[i]:.6f}",
            "rlnDefocusV": f"{source.defocus_v_angst[i]:.6f}",
            "rlnDefocusAngle": f"{source.defocus_angle_deg[i]:.6f}",
            "rlnPhaseShift": "0.000000",
            "rlnCtfBfactor": "0.000000",
            "rlnRandomSubset": str(1 + i % 2),
            "rlnAngleRot": f"{10.0 * i:.6f}",
            "rlnAngleTilt": f"{5.0 * i:.6f}",
            "rlnAnglePsi": f"{-7.0 * i:.6f}",
            "rlnOriginX" if pixels else "rlnOriginXAngst": f"{1.5 * scale:.6f}",
            "rlnOriginY" if pixels else "rlnOriginYAngst": f"{-2.5 * scale:.6f}",
            "rlnClassNumber": "1",
        })  # fmt: skip
    return found


def table(name: str, lines: list[dict[str, str]]) -> str:
    labels = "".join(f"_{label} #{i}\n" for i, label in enumerate(lines[0], start=1))
    return f"\ndata_{name}\n\nloop_\n{labels}" + "".join(
        " ".join(line.values()) + "\n" for line in lines
    )


def write_as_pyem(folder: Path, form: str, stack: str = "particles.mrcs") -> Path:
    """Write cs.star as csparc2star.py writes it: ``now``, ``old`` or ``relion2``."""
    write_small_set(folder, N)
    source = read_particles(folder / "particles.star")
    path = folder / "cs.star"
    if form == "relion2":
        lines = [
            {
                "rlnVoltage": "300.000000", "rlnSphericalAberration": "2.700000",
                "rlnAmplitudeContrast": "0.100000", "rlnDetectorPixelSize": f"{PIXEL:.6f}",
                "rlnMagnification": "10000.000000", **line,
            }
            for line in rows(source, stack, pixels=True)
        ]  # fmt: skip
        path.write_text(table("", lines))
        return path
    optics = {
        "rlnVoltage": "300.000000", "rlnImagePixelSize": f"{PIXEL:.6f}",
        "rlnSphericalAberration": "2.700000", "rlnAmplitudeContrast": "0.100000",
        "rlnOpticsGroup": "6", "rlnImageSize": "80", "rlnImageDimensionality": "2",
        **({"rlnOpticsGroup1": "6"} if form == "old" else {"rlnOpticsGroupName": "opticsGroup6"}),
    }  # fmt: skip
    lines = [{**line, "rlnOpticsGroup": "6"} for line in rows(source, stack, pixels=False)]
    path.write_text(table("optics", [optics]) + table("particles", lines))
    return path


@pytest.mark.parametrize("form", ["now", "old", "relion2"])
def test_particles_are_read(tmp_path: Path, form: str) -> None:
    found = read_particles(write_as_pyem(tmp_path, form), do_ctf=True)
    assert found.n == N
    (optics,) = found.optics
    assert (optics.voltage_kv, optics.box_px) == (300.0, 80)
    assert optics.pixel_size_angst == pytest.approx(PIXEL, abs=1e-6)
    np.testing.assert_allclose(found.origin_x_angst, 1.5, atol=1e-5)
    np.testing.assert_allclose(found.origin_y_angst, -2.5, atol=1e-5)
    np.testing.assert_allclose(sorted(found.tilt_deg), 5.0 * np.arange(N))
    assert len(found.group_names) == 2
    images = ParticleImages(found, ImageReader(found.star_path))
    images.verify()


def test_they_are_classified(tmp_path: Path) -> None:
    write_as_pyem(tmp_path, "now")
    command = changed(CLASS3D, "--i cs.star --iter 1 --o out/run")
    succeed(tmp_path, command)
    found = read_particles(tmp_path / "out/run_it001_data.star", do_ctf=True)
    assert found.n == N
    assert found.optics[0].name == "opticsGroup6"
    # what cryoSPARC knew of them is still there
    assert found.raw["particles"].columns["rlnCoordinateX"].count("100") == 1


def test_stacks_named_as_maps(tmp_path: Path) -> None:
    """cryoSPARC's stacks end in .mrc, which RELION refuses as well; the message says what to do."""
    path = write_as_pyem(tmp_path, "now", stack="J12/extract/0123_particles.mrc")
    found = read_particles(path)
    with pytest.raises(ImageError, match=r"must end in \.mrcs or \.st; rename .*\.mrc:mrcs"):
        ParticleImages(found, ImageReader(found.star_path)).verify()
