"""Particle tables: RELION's files, legacy files, groups, order, write-back, and bad input."""

import logging
import shutil
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from clrelion.errors import ImageError, StarError
from clrelion.io.particle_table import read_particles, write_particles
from clrelion.io.star import read_star

OPTICS = """
data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
_rlnImageDimensionality #8
first 1 300.0 2.7 0.1 1.25 8 2
second 2 200.0 2.7 0.07 1.25 8 2

"""
PARTICLES = """
data_particles

loop_
_rlnImageName #1
_rlnMicrographName #2
_rlnOpticsGroup #3
_rlnDefocusU #4
_rlnDefocusV #5
_rlnMyOwn #6
000001@s.mrcs MotionCorr/job002/b.mrc 1 10000 9000 one
000002@s.mrcs MotionCorr/job002/a.mrc 2 11000 9000 "two words"
000003@s.mrcs MotionCorr/job003/b.mrc 1 12000 9000 ""
000004@s.mrcs MotionCorr/job002/a.mrc 2 13000 9000 four
"""
LEGACY = """
data_

loop_
_rlnVoltage #1
_rlnDefocusU #2
_rlnDefocusV #3
_rlnDefocusAngle #4
_rlnSphericalAberration #5
_rlnDetectorPixelSize #6
_rlnMagnification #7
_rlnAmplitudeContrast #8
_rlnImageName #9
_rlnOriginX #10
_rlnOriginY #11
_rlnFooBar #12
_rlnMicrographName #13
300 10000 9000 12 2.7 5.0 14641.0 0.1 000002@s.mrcs 1.5 -2 abc MotionCorr/job002/m/b.mrc
300 10000 9000 12 2.7 5.0 14641.0 0.1 000001@s.mrcs 1.5 -2 "a b" MotionCorr/job002/m/a.mrc
200 10000 9000 12 2.7 5.0 14641.0 0.1 000003@s.mrcs 0 0 "" MotionCorr/job003/m/b.mrc
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with mrcfile.new(tmp_path / "s.mrcs") as mrc:
        mrc.set_data(np.zeros((4, 8, 8), np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def star(text: str) -> str:
    Path("p.star").write_text(text)
    return "p.star"


def test_current_format(folder: Path) -> None:
    table = read_particles(star(OPTICS + PARTICLES), do_ctf=True)
    assert table.n == 4
    assert table.image_name == [f"00000{i}@s.mrcs" for i in (2, 4, 1, 3)], "sorted, stable"
    assert table.source_row.tolist() == [2, 4, 1, 3]
    assert table.optics_group.tolist() == [1, 1, 0, 0]
    assert table.group_names == ["a.mrc", "b.mrc"], "job folders do not make groups"
    assert table.scale_group.tolist() == [0, 0, 1, 1]
    assert table.defocus_u_angst.tolist() == [11000, 13000, 10000, 12000]
    assert table.class_number.tolist() == [-1] * 4
    assert table.norm_correction.tolist() == [1] * 4
    assert table.random_subset.tolist() == [0] * 4
    assert table.rot_prior_deg.tolist() == [999] * 4
    assert table.ctf_scalefactor.tolist() == [1] * 4
    assert table.reconstruct_image_name is None
    assert table.boxes_px.tolist() == [8] * 4
    group = table.optics[1]
    assert (group.name, group.voltage_kv, group.amplitude_contrast) == ("second", 200, 0.07)
    assert (group.pixel_size_angst, group.box_px, group.mtf_file) == (1.25, 8, None)
    np.testing.assert_array_equal(group.mag_matrix, np.eye(2))


def test_write_back_keeps_columns_and_appends(folder: Path) -> None:
    extra = "\ndata_mine\n\n_rlnA 5\n"
    table = read_particles(star(OPTICS + PARTICLES + extra))
    write_particles("it000.star", table, iteration_done=False)
    before = read_star("it000.star")
    assert list(before) == ["optics", "particles", "mine"]
    assert list(before["particles"].columns) == [
        "rlnImageName",
        "rlnMicrographName",
        "rlnOpticsGroup",
        "rlnDefocusU",
        "rlnDefocusV",
        "rlnMyOwn",
        "rlnGroupNumber",
        "rlnAngleRot",
        "rlnAngleTilt",
        "rlnAnglePsi",
        "rlnOriginXAngst",
        "rlnOriginYAngst",
        "rlnClassNumber",
        "rlnNormCorrection",
    ]
    assert before["particles"].strings("rlnMyOwn") == ["two words", "four", "one", ""]
    assert before["particles"].strings("rlnDefocusU") == ["11000", "13000", "10000", "12000"]
    table.class_number[:] = 2
    table.psi_deg[:] = [1, -2, 3, 4]
    table.random_subset[:] = [1, 2, 1, 2]
    table.n_significant[:] = 5
    write_particles("it001.star", table, iteration_done=True)
    again = read_particles("it001.star")
    assert list(again.raw["particles"].columns)[-4:] == [
        "rlnRandomSubset",
        "rlnLogLikeliContribution",
        "rlnMaxValueProbDistribution",
        "rlnNrOfSignificantSamples",
    ]
    assert again.raw["particles"].strings("rlnClassNumber") == ["3"] * 4
    for name in ("class_number", "psi_deg", "random_subset", "n_significant", "optics_group"):
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name), name)
    assert again.image_name == table.image_name


@pytest.mark.parametrize("run", ["pol/auto/run_it003", "bg/base/run_it001", "pol/K2/run_it000"])
def test_relion_data_files_are_rewritten_byte_for_byte(
    shared: Path, tmp_path: Path, run: str
) -> None:
    path = shared / "data" / "steps" / f"{run}_data.star"
    table = read_particles(path, do_ctf=True)
    write_particles(tmp_path / "d.star", table, iteration_done="it000" not in run)
    assert (tmp_path / "d.star").read_text() == path.read_text()


def test_particles_of_relion_runs_equal_those_of_the_input(shared: Path, tmp_path: Path) -> None:
    """Reading the input gives the rows, groups and columns of RELION's it000 file."""
    for run in ("pol", "bg"):
        table = read_particles(shared / "data" / "steps" / run / "particles.star", do_ctf=True)
        write_particles(tmp_path / "it000.star", table, iteration_done=False)
        ours = read_star(tmp_path / "it000.star")["particles"]
        theirs = read_star(shared / "data" / "steps" / run / "base" / "run_it000_data.star")
        assert list(ours.columns) == list(theirs["particles"].columns)
        assert ours.strings("rlnImageName") == theirs["particles"].strings("rlnImageName")
        assert ours.strings("rlnGroupNumber") == theirs["particles"].strings("rlnGroupNumber")


@pytest.mark.skipif(not shutil.which("relion_star_handler"), reason="needs Debian's relion")
def test_legacy_conversion_is_relions(folder: Path) -> None:
    table = read_particles(star(LEGACY), do_ctf=True)
    assert [g.name for g in table.optics] == ["opticsGroup1", "opticsGroup2"]
    assert table.optics[0].pixel_size_angst == pytest.approx(5e4 / 14641)
    assert table.group_names == ["m/a.mrc", "m/b.mrc"]
    assert table.optics_group.tolist() == [0, 0, 1]
    write_particles("ours.star", table, iteration_done=False)
    for source, target in (("p.star", "theirs.star"), ("ours.star", "reread.star")):
        subprocess.run(["relion_star_handler", "--i", source, "--o", target], check=True)
    theirs, ours = read_star("theirs.star"), read_star("reread.star")
    for block in ("optics", "particles"):
        assert theirs[block].n_rows == ours[block].n_rows
        for label, values in theirs[block].columns.items():
            if label == "rlnMicrographPixelSize":
                continue  # added by relion_star_handler alone
            columns = ours[block].columns[label]
            if block == "particles":
                columns = [columns[i] for i in (1, 0, 2)]  # relion_star_handler does not sort
            assert columns == values, label
    theirs_labels = list(theirs["particles"].columns)
    assert list(ours["particles"].columns)[: len(theirs_labels)] == theirs_labels


def test_legacy_without_magnification_needs_angpix(folder: Path) -> None:
    text = LEGACY.replace("_rlnMagnification", "_rlnSomethingElse")
    with pytest.raises(StarError, match=r"p\.star: no pixel size.*--angpix"):
        read_particles(star(text))
    table = read_particles(star(text), angpix=2.0)
    assert table.optics[0].pixel_size_angst == 2.0
    assert table.origin_x_angst.tolist() == [3.0, 3.0, 0.0]
    assert "rlnOriginX" not in table.raw["particles"]
    with pytest.raises(StarError, match=r"row 1: rlnDetectorPixelSize .* rlnMagnification 0\.0"):
        read_particles(star(LEGACY.replace("14641.0", "0.0")))


def test_without_micrographs_there_is_one_group(folder: Path) -> None:
    table = read_particles(star(OPTICS + PARTICLES.replace("_rlnMicrographName", "_rlnSomething")))
    assert table.group_names == ["group"]
    assert table.source_row.tolist() == [1, 2, 3, 4]
    table = read_particles(star(OPTICS + PARTICLES.replace("_rlnMyOwn", "_rlnGroupName")))
    assert table.group_names == ["two words", "four", "one", ""]


def test_optics_are_renumbered_in_file_order(folder: Path) -> None:
    text = OPTICS.replace("second 2", "second 7").replace("first 1", "first 9")
    rows = PARTICLES.replace(".mrc 1 ", ".mrc 9 ").replace(".mrc 2 ", ".mrc 7 ")
    table = read_particles(star(text + rows))
    assert table.optics_group.tolist() == [1, 1, 0, 0]
    assert [g.number_in_file for g in table.optics] == [9, 7]
    write_particles("d.star", table, iteration_done=False)
    again = read_star("d.star")
    assert again["optics"].strings("rlnOpticsGroup") == ["1", "2"]
    assert again["particles"].strings("rlnOpticsGroup") == ["2", "2", "1", "1"]


def test_aberrations_and_flags(folder: Path) -> None:
    labels = "_rlnOddZernike\n_rlnEvenZernike\n_rlnMagMat00\n_rlnMagMat01\n_rlnBeamTiltX\n"
    labels += "_rlnCtfDataAreCtfPremultiplied\n_rlnMtfFileName\n"
    text = OPTICS.replace("first 1", f"{labels}first 1")
    text = text.replace("8 2\nsecond", "8 2 [0.1,-2] [] 1.01 0.02 0.5 1 mtf.star\nsecond")
    text = text.replace("8 2\n\n", "8 2 [] [1,2,3] 1 0 0 0 None\n\n")
    first, second = read_particles(star(text + PARTICLES)).optics
    assert (first.odd_zernike, first.even_zernike) == ((0.1, -2.0), ())
    assert second.even_zernike == (1, 2, 3)
    np.testing.assert_array_equal(first.mag_matrix, [[1.01, 0.02], [0, 1]])
    assert (first.beam_tilt_x_mrad, first.ctf_premultiplied, first.mtf_file) == (
        0.5,
        True,
        "mtf.star",
    )
    assert (second.ctf_premultiplied, second.mtf_file) == (False, None)
    with pytest.raises(StarError, match=r"row 1 of data_optics: rlnOddZernike is '0\.1'"):
        read_particles(star(text.replace("[0.1,-2]", "0.1") + PARTICLES))


def test_pixel_size_comes_from_the_first_label_present(folder: Path) -> None:
    text = OPTICS.replace("_rlnImagePixelSize", "_rlnMicrographPixelSize") + PARTICLES
    assert read_particles(star(text), angpix=9.0).optics[0].pixel_size_angst == 1.25
    text = OPTICS.replace("_rlnImagePixelSize", "_rlnSomething") + PARTICLES
    assert read_particles(star(text), angpix=9.0).optics[1].pixel_size_angst == 9.0


def test_mixed_optics_are_allowed_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        read_particles(star(OPTICS.replace("0.07 1.25", "0.07 1.5") + PARTICLES))
    assert "8 px of 1.25 Å; 8 px of 1.5 Å" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("_rlnImagePixelSize", "_rlnX", "p.star: no pixel size: .* add it or give --angpix"),
        ("0.1 1.25", "0.1 0.0", "row 1 of data_optics: rlnImagePixelSize is 0.0; it must be pos"),
        ("0.07 1.25", "0.07 nan", "row 2 of data_optics: rlnImagePixelSize is nan"),
        ("0.07 1.25 8 2", "0.07 1.25 9 2", "row 2 of data_optics: rlnImageSize is 9; odd boxes"),
        ("0.07 1.25 8 2", "0.07 1.25 8 3", "rlnImageDimensionality is 3; only 2D"),
        ("second 2", "second 1", "rlnOpticsGroup numbers in data_optics repeat"),
        ("_rlnVoltage", "_rlnX", "data_optics has no _rlnVoltage; add this column"),
        ("_rlnSphericalAberration", "_rlnX", "has no _rlnSphericalAberration"),
        ("_rlnImageSize", "_rlnX", "has no _rlnImageSize"),
        ("_rlnImageName", "_rlnX", "data_particles has no _rlnImageName"),
        ("_rlnOpticsGroup #3", "_rlnX", "data_particles has no _rlnOpticsGroup"),
        ("job003/b.mrc 1", "job003/b.mrc 5", "row 3 of data_particles: rlnOpticsGroup is 5, but"),
        ("12000 9000", "12000x 9000", "row 3 of data_particles: rlnDefocusU is '12000x'"),
        ("12000 9000", "inf 9000", "p.star row 3: rlnDefocusU is inf"),
        ("12000 9000", "12000 nan", "p.star row 3: rlnDefocusV is nan"),
        ("_rlnDefocusU", "_rlnX", "has no _rlnDefocusU, which --ctf needs; remove --ctf"),
        ("_rlnAmplitudeContrast", "_rlnX", "has no _rlnAmplitudeContrast, which --ctf needs"),
        ("200.0 2.7 0.07", "200.0 2.7 1.5", "row 2 of data_optics: rlnAmplitudeContrast is 1.5"),
        ("data_particles", "data_other", r"no data_particles \(only data_optics, data_other\)"),
    ],
)
def test_bad_tables_are_named_in_one_line(folder: Path, old: str, new: str, message: str) -> None:
    text = OPTICS + PARTICLES
    assert old in text
    with pytest.raises(StarError, match=message) as error:
        read_particles(star(text.replace(old, new, 1)), do_ctf=True)
    assert "p.star" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_ctf_of_nothing_is_refused(folder: Path) -> None:
    text = OPTICS.replace("2.7 0.1", "0 0") + PARTICLES.replace("12000 9000", "0 0")
    with pytest.raises(StarError, match=r"p\.star row 3: rlnDefocusU, .* all 0; remove --ctf"):
        read_particles(star(text), do_ctf=True)
    read_particles(star(text), do_ctf=False)


def test_images_of_legacy_files_must_be_there(folder: Path) -> None:
    Path("s.mrcs").unlink()
    with pytest.raises(ImageError, match=r"s\.mrcs: no such image file"):
        read_particles(star(LEGACY))
    with mrcfile.new("s.mrcs") as mrc:
        mrc.set_data(np.zeros((4, 7, 7), np.float32))
    with pytest.raises(StarError, match=r"row 1: 000002@s\.mrcs is 7 x 7 px; .* even box"):
        read_particles(star(LEGACY))


def test_no_particles(folder: Path) -> None:
    head = PARTICLES[: PARTICLES.index("000001@")]
    with pytest.raises(StarError, match="data_particles has no rows"):
        read_particles(star(OPTICS + head))
    with pytest.raises(StarError, match="first block data_x has no _rlnImageName"):
        read_particles(star("data_x\n\nloop_\n_rlnA\n1\n"))
    with pytest.raises(StarError, match="or no rows"):
        read_particles(star(LEGACY[: LEGACY.index("300 10000")]))
