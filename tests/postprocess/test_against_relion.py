"""Post-processing and masks against RELION 3.1.3's programs, which round to 6 digits.

Only the phases that are made random differ: the generators do.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from clrelion.io.mtf import read_mtf
from clrelion.io.star import StarBlock, read_star
from clrelion.postprocess.job import PostprocessSettings, postprocess
from clrelion.postprocess.masking import MaskRules, make_mask
from clrelion.postprocess.sharpen import SharpenRules, sharpen
from tests.postprocess.half_maps import HALVES, PIXEL, N, write_half_maps
from tests.reference.relion_programs import read_mrc, run_relion

CORRECTED = "rlnFourierShellCorrelationCorrected"
RANDOMISED = "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps"


def relion_postprocess(folder: Path, arguments: str) -> dict[str, StarBlock]:
    """Run it; its last step, joining its plots, wants Ghostscript, so its exit code says little."""
    path = shutil.which("relion_postprocess")
    if path is None:
        pytest.skip("relion_postprocess is not installed")
    command = [path, "--i", HALVES[0], "--o", "theirs", "--angpix", str(PIXEL), *arguments.split()]
    subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return read_star(folder / "theirs.star")


def assert_curves_agree(
    found: StarBlock, expected: StarBlock, but: tuple[str, ...] = ()
) -> None:
    assert list(found.columns) == list(expected.columns)
    for label in set(expected.columns) - set(but):
        np.testing.assert_allclose(
            found.floats(label), expected.floats(label), atol=2e-5, err_msg=label
        )


def test_without_a_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is random: FSC, B-factor and map are the same (3.1.3 fails before its plots)."""
    write_half_maps(tmp_path)
    theirs = relion_postprocess(
        tmp_path, "--mtf mtf.star --auto_bfac --autob_lowres 16 --low_pass 9.1"
    )
    monkeypatch.chdir(tmp_path)
    rules = SharpenRules(fit_bfactor=True, fit_lowres_angst=16, low_pass_angst=9.1)
    postprocess(
        PostprocessSettings(HALVES[0], "ours", mtf="mtf.star", sharpening=rules)
    )
    ours = read_star("ours.star")
    assert_curves_agree(ours["fsc"], theirs["fsc"])
    for label, values in theirs["general"].columns.items():
        if "Map" in label or label == "rlnMaskName":
            assert ours["general"].columns[label] == values
        else:
            assert ours["general"].floats(label)[0] == pytest.approx(float(values[0]), rel=1e-3)
    found, expected = read_mrc(tmp_path / "ours.mrc"), read_mrc(tmp_path / "theirs.mrc")
    assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)


def test_within_a_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_half_maps(tmp_path)
    theirs = relion_postprocess(
        tmp_path, "--mask mask.mrc --mtf mtf.star --auto_bfac --autob_lowres 16 --molweight 60"
    )
    monkeypatch.chdir(tmp_path)
    result = postprocess(
        PostprocessSettings(HALVES[0], "ours", mask="mask.mrc", molecular_weight_kda=60)
    )
    ours = read_star("ours.star")
    assert_curves_agree(ours["fsc"], theirs["fsc"], (CORRECTED, RANDOMISED))
    general = theirs["general"]
    for label in (
        "rlnRandomiseFrom", "rlnParticleBoxFractionSolventMask", "rlnMolecularWeight",
        "rlnParticleBoxFractionMolecularWeight",
    ):  # fmt: skip
        assert ours["general"].floats(label)[0] == pytest.approx(general.floats(label)[0])
    # each program's own curve follows from its own random phases
    for block in (ours["fsc"], theirs["fsc"]):
        masked = block.floats("rlnFourierShellCorrelationMaskedMaps")
        chance = block.floats(RANDOMISED)
        beyond = np.arange(len(chance)) >= result.fsc.first_random_shell + 2
        expected = np.where(beyond, (masked - chance) / (1 - np.where(beyond, chance, 0)), masked)
        np.testing.assert_allclose(block.floats(CORRECTED), expected, atol=2e-5)
    # the random phases: the same up to two shells beyond where they begin, then alike
    first = result.fsc.first_random_shell
    curves = [block["fsc"].floats(CORRECTED) for block in (ours, theirs)]
    np.testing.assert_allclose(curves[0][: first + 2], curves[1][: first + 2], atol=2e-6)
    by_chance = [block["fsc"].floats(RANDOMISED) for block in (ours, theirs)]
    # up to 2000 coefficients in a shell, of which the mask joins some ten to one
    assert np.sqrt(np.mean((by_chance[0] - by_chance[1])[first + 2 :] ** 2)) < 0.1
    resolution = general.floats("rlnFinalResolution")[0]
    shells = N * PIXEL / np.array([result.resolution_angst, resolution])
    assert abs(shells[0] - shells[1]) <= 1
    # with RELION's own curve the map is RELION's
    halves = [read_mrc(tmp_path / name) for name in HALVES]
    rules = SharpenRules(
        mtf=read_mtf("mtf.star", PIXEL), fit_bfactor=True, fit_lowres_angst=16
    )
    found, sharpening = sharpen(0.5 * (halves[0] + halves[1]), PIXEL, curves[1], rules)
    expected = read_mrc(tmp_path / "theirs.mrc")
    # 5e-4: an MTF is interpolated between its rows here, on an assumed grid there
    assert np.linalg.norm(found - expected) < 5e-4 * np.linalg.norm(expected)
    guinier = sharpening.guinier
    bfactor = general.floats("rlnBfactorUsedForSharpening")[0]
    assert sharpening.bfactor_angst2 == pytest.approx(bfactor, rel=2e-4)
    correlation = general.floats("rlnCorrelationFitGuinierPlot")[0]
    assert guinier.correlation == pytest.approx(correlation, abs=1e-4)
    for label, values in (
        ("Original", guinier.original), ("MTFCorrected", guinier.mtf_corrected),
        ("Weighted", guinier.weighted), ("Sharpened", guinier.sharpened),
    ):  # fmt: skip
        assert values is not None
        column = theirs["guinier"].floats(f"rlnLogAmplitudes{label}")
        np.testing.assert_allclose(values, column, atol=1e-3, err_msg=label)


@pytest.mark.parametrize(("extend", "edge"), [(3, 6), (2.5, 4), (0, 5)])
def test_mask_is_that_of_relion_mask_create(tmp_path: Path, extend: float, edge: float) -> None:
    halves = write_half_maps(tmp_path)
    run_relion(
        "relion_mask_create",
        f"--i {HALVES[0]} --o mask0.mrc --ini_threshold 0.3 --extend_inimask {extend} "
        f"--width_soft_edge {edge} --lowpass 15 --angpix {PIXEL}",
        tmp_path,
    )
    found, threshold = make_mask(halves[0], PIXEL, MaskRules(0.3, 15.0, extend, edge))
    assert threshold == 0.3
    np.testing.assert_allclose(found, read_mrc(tmp_path / "mask0.mrc"), atol=1e-6)


def test_mtf_is_divided_out(tmp_path: Path) -> None:
    halves = write_half_maps(tmp_path)
    mtf = read_mtf(str(tmp_path / "mtf.star"), PIXEL)
    flat = np.ones(N // 2 + 1)
    plain, before = sharpen(halves[0], PIXEL, flat, SharpenRules(weight_by_fsc=False))
    np.testing.assert_allclose(plain, halves[0], atol=1e-12)
    _, after = sharpen(halves[0], PIXEL, flat, SharpenRules(mtf=mtf, weight_by_fsc=False))
    frequency = np.sqrt(np.arange(before.factors.size)) / (N * PIXEL)
    inside = np.arange(before.factors.size) < (N // 2) ** 2
    expected = 1 / np.interp(frequency * PIXEL, np.linspace(0, 0.5, 251), _mtf_values(tmp_path))
    np.testing.assert_allclose(after.factors[inside], expected[inside], rtol=1e-9)
    assert (after.factors[~inside] == 1).all()


def _mtf_values(folder: Path) -> np.ndarray:
    return read_star(folder / "mtf.star")[""].floats("rlnMtfValue")
