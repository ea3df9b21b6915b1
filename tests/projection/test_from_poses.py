"""``clrelion reconstruct`` against ``relion_reconstruct`` 3.1.3 and against the truth.

``--pad 1.85`` keeps every pixel off the cut-off sphere (specification E F.1); ``--maxres`` keeps
RELION's Nyquist row out, which it takes as negative.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clrelion.cli.main import main
from clrelion.fourier.fsc import map_fsc
from clrelion.io.particle_table import read_particles
from clrelion.io.star import read_star
from clrelion.projection.from_poses import (
    PoseReconstruction,
    map_of_sums,
    particles_of,
    sums_from_poses,
)
from tests.projection.particles import PIXEL, N, write_particles
from tests.reference.relion_programs import read_mrc, run_relion, write_mrc


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "tilt_mrad"),
    [
        ("--ctf --sym D2 --maxres 7", 0.0),
        ("--sym C3 --maxres 8.5", 0.0),
        ("--ctf --subset 2 --maxres 7", 0.0),
        ("--ctf --class 3 --maxres 7 --ctf_phase_flipped", 0.0),
        ("--ctf --maxres 7 --only_flip_phases", 0.0),
        ("--ctf --maxres 7 --ctf_intact_first_peak", 0.0),
        ("--ctf --maxres 8", 1.7),
    ],
)
def test_same_map_as_relion_reconstruct(folder: Path, options: str, tilt_mrad: float) -> None:
    write_particles(folder, tilt_mrad=tilt_mrad)
    run_relion(
        "relion_reconstruct", f"--i s.star --o r.mrc --pad 1.85 --skip_gridding {options}", folder
    )
    arguments = f"reconstruct --i s.star --o c/m.mrc --pad 1.85 {options}"
    assert main(arguments.split()) == 0
    expected = read_mrc(folder / "r.mrc")
    found = read_mrc(folder / "c/m.mrc")
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_half_maps_and_their_resolution(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    truth = write_particles(folder, n=400, noise=0.5)
    shells = np.arange(1, N // 2)
    arguments = "reconstruct --i s.star --o m.mrc --ctf --halves --pipeline_control ./"
    assert main(arguments.split()) == 0
    line = re.search(r"\(FSC 0.143, unmasked\): ([\d.]+) A", capfd.readouterr().out)
    assert line is not None
    maps = [read_mrc(folder / name) for name in ("m.mrc", "m_half1.mrc", "m_half2.mrc")]
    below = shells[map_fsc(maps[1], maps[2])[shells] < 0.143]
    assert abs(N * PIXEL / float(line[1]) - (below[0] - 1)) <= 1
    fsc = [map_fsc(one, truth)[shells] for one in maps]
    # FSC with the truth: sqrt(2 f / (1 + f)) of the half maps', here 0.5 at their resolution
    assert (fsc[0][: below[0] - 1] > 0.5).all()
    assert (fsc[0] > 0.5 * (fsc[1] + fsc[2]))[4 : below[0] - 1].all()
    nodes = read_star("RELION_OUTPUT_NODES.star")["output_nodes"].columns["rlnPipeLineNodeName"]
    assert nodes == ["m.mrc", "m_half1.mrc", "m_half2.mrc"]
    # the halves are what --subset gives, and postprocess knows them by their names
    arguments = "reconstruct --i s.star --o one.mrc --ctf --subset 1"
    assert main(arguments.split()) == 0
    np.testing.assert_allclose(read_mrc(folder / "one.mrc"), maps[1], atol=1e-6)
    assert main(["postprocess", "--i", "m_half1.mrc", "--o", "post"]) == 0


def test_a_second_optics_group_of_another_pixel_size(folder: Path) -> None:
    """Half of the particles magnified: their box is the same field in more pixels."""
    from clrelion.fourier.transforms import rescale_image

    write_particles(folder, n=40)
    table = read_particles("s.star", do_ctf=True)
    how = PoseReconstruction.of_particles(table, max_resolution_angst=7.0)
    expected = map_of_sums(sums_from_poses(table, particles_of(table), how), how)
    images = read_mrc(folder / "s.mrcs")
    write_mrc(folder / "large.mrcs", rescale_image(images, 48), PIXEL * N / 48)
    large = replace(table.optics[0], box_px=48, pixel_size_angst=PIXEL * N / 48)
    table.optics.append(large)
    second = np.arange(table.n) >= 20
    table.optics_group[second] = 1
    for i in np.flatnonzero(second):
        table.image_name[i] = table.image_name[i].replace("s.mrcs", "large.mrcs")
    found = map_of_sums(sums_from_poses(table, particles_of(table), how), how)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_premultiplied_images(folder: Path) -> None:
    """Images multiplied by their CTF beforehand give the same map."""
    from clrelion.fourier.ctf import contrast_transfer, frequency_grid
    from clrelion.fourier.transforms import centre_half_transform, forward_2d, inverse_2d

    write_particles(folder, n=30)
    table = read_particles("s.star", do_ctf=True)
    how = PoseReconstruction.of_particles(table, max_resolution_angst=7.0, symmetry="C2")
    expected = map_of_sums(sums_from_poses(table, particles_of(table), how), how)
    u, v = frequency_grid(N, N, PIXEL)
    ctf = contrast_transfer(
        u, v, voltage_kv=300.0, spherical_aberration_mm=2.7, amplitude_contrast=0.1,
        defocus_u_angst=table.defocus_u_angst[:, None, None],
        defocus_v_angst=table.defocus_v_angst[:, None, None],
        defocus_angle_deg=table.defocus_angle_deg[:, None, None],
    )  # fmt: skip
    images = read_mrc(folder / "s.mrcs")
    multiplied = inverse_2d(
        centre_half_transform(centre_half_transform(forward_2d(images)) * ctf)
    )
    write_mrc(folder / "s.mrcs", multiplied, PIXEL)
    table.optics[0] = replace(table.optics[0], ctf_premultiplied=True)
    found = map_of_sums(sums_from_poses(table, particles_of(table), how), how)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--i s.star --o m", "ending in .mrc"),
        ("--i s.star --class 9", "no particle belongs to class 9"),
        ("--i s.star --halves --subset 1", "give one of the two"),
        ("--i s.star --sym C3v", "mirrors"),
        ("--i nowhere.star", "nowhere.star"),
        ("--i s.star --symm C3", "did you mean --sym?"),
    ],
)
def test_mistakes_are_one_line(
    folder: Path, capfd: pytest.CaptureFixture[str], arguments: str, said: str
) -> None:
    write_particles(folder, n=4)
    assert main(["reconstruct", *arguments.split()]) == 1
    text = capfd.readouterr().err
    assert text.count("\n") == 1
    assert said in text
