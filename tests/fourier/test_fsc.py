from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import starfile

from clrelion.fourier.fsc import map_fsc, randomise_phases
from clrelion.fourier.masks import raised_cosine_mask
from clrelion.fourier.shells import half_transform_shells_3d
from clrelion.fourier.transforms import forward_3d
from clrelion.maximization.half_maps import solvent_corrected_fsc
from tests.reference.phantoms import blob_map
from tests.reference.relion_programs import run_relion, write_mrc


def test_equal_and_opposite_maps() -> None:
    volume = np.random.default_rng(0).normal(size=(16, 16, 16))
    np.testing.assert_allclose(map_fsc(volume, 3.0 * volume), 1.0)
    np.testing.assert_allclose(map_fsc(volume, -volume), -1.0)
    np.testing.assert_array_equal(map_fsc(volume, np.zeros_like(volume)), 0.0)


def test_signal_and_noise_of_equal_power_correlate_to_one_half() -> None:
    rng = np.random.default_rng(1)
    signal, one, two = rng.normal(size=(3, 48, 48, 48))
    fsc = map_fsc(signal + one, signal + two)
    np.testing.assert_allclose(fsc[8:], 0.5, atol=0.05)


def test_randomised_phases_keep_amplitudes_and_inner_shells() -> None:
    volume = np.random.default_rng(2).normal(size=(20, 20, 20))
    changed = randomise_phases(volume, 5, np.random.default_rng(0))
    before, after = forward_3d(volume), forward_3d(changed)
    k = np.r_[0:11, -9:0]
    squared = k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(11) ** 2
    np.testing.assert_allclose(after[squared < 25], before[squared < 25], atol=1e-14)
    # planes of kx = 0 and Nyquist hold Friedel pairs, which the inverse transform averages
    free = (squared >= 25) & (np.arange(11) > 0) & (np.arange(11) < 10)
    np.testing.assert_allclose(np.abs(after[free]), np.abs(before[free]), atol=1e-14)
    fsc = map_fsc(volume, changed)
    np.testing.assert_allclose(fsc[:4], 1.0)
    assert np.abs(fsc[6:]).max() < 0.25
    assert half_transform_shells_3d(20)[0, 0, 5] == 5


def test_curves_equal_relion_postprocess(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    n, volume = 32, blob_map(32)
    first = write_mrc(tmp_path / "half1_x.mrc", volume + 0.3 * rng.normal(size=(n, n, n)), 3.0)
    second = write_mrc(tmp_path / "half2_x.mrc", volume + 0.3 * rng.normal(size=(n, n, n)), 3.0)
    mask = write_mrc(tmp_path / "mask.mrc", raised_cosine_mask(n, 9, 4), 3.0)
    (tmp_path / "pp").mkdir()
    run_relion(
        "relion_postprocess", "--i half1_x.mrc --mask mask.mrc --angpix 3 --o pp/o", tmp_path
    )
    blocks = starfile.read(tmp_path / "pp/o.star")
    table = blocks["fsc"]
    ours = solvent_corrected_fsc(first, second, mask, n, rng)
    curves = {
        "rlnFourierShellCorrelationUnmaskedMaps": ours.unmasked,
        "rlnFourierShellCorrelationMaskedMaps": ours.masked,
    }
    for label, curve in curves.items():
        np.testing.assert_allclose(curve, table[label], atol=1e-5)
    shell = round(n * 3.0 / float(blocks["general"]["rlnRandomiseFrom"]))
    assert ours.first_random_shell == shell
    theirs = table["rlnFourierShellCorrelationCorrected"].to_numpy()
    np.testing.assert_allclose(ours.corrected[: shell + 2], theirs[: shell + 2], atol=1e-5)


def test_solvent_correction_formula() -> None:
    rng = np.random.default_rng(4)
    n, volume = 32, blob_map(32)
    first, second = (volume + 0.3 * rng.normal(size=(2, n, n, n)))[:]
    mask = raised_cosine_mask(n, 9, 4)
    result = solvent_corrected_fsc(first, second, mask, 26, np.random.default_rng(0))
    i = result.first_random_shell
    assert result.unmasked[i] < 0.8 <= result.unmasked[1:i].min()
    for shell in range(n // 2 + 1):
        true, chance = result.masked[shell], result.randomised[shell]
        if shell >= 14:
            expected = 0.0
        elif shell < i + 2:
            expected = true
        else:
            expected = 0.0 if chance > true else (true - chance) / (1.0 - chance)
        assert result.corrected[shell] == pytest.approx(expected)


def test_perfect_maps_are_not_corrected(caplog: pytest.LogCaptureFixture) -> None:
    volume = np.random.default_rng(5).normal(size=(16, 16, 16))
    mask = raised_cosine_mask(16, 4, 2)
    result = solvent_corrected_fsc(volume, volume, mask, 16, np.random.default_rng(0))
    assert result.first_random_shell == -1
    np.testing.assert_allclose(result.corrected, 1.0)
    assert "uncorrected" in caplog.text
