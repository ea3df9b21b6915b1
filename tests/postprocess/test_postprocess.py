"""Post-processing: what holds without RELION."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clrelion.cli.main import main
from clrelion.errors import ImageError, NumericalError, OptionsError
from clrelion.fourier.masks import raised_cosine_mask
from clrelion.io.star import read_star
from clrelion.postprocess.corrected_fsc import corrected_fsc, particle_fsc, resolution_shell
from clrelion.postprocess.job import PostprocessSettings, partner_of, postprocess
from clrelion.postprocess.masking import MaskRules, automatic_threshold, make_mask
from clrelion.postprocess.sharpen import SharpenRules, sharpen
from clrelion.report.postprocess_figures import fsc_plot, guinier_plot
from tests.postprocess.half_maps import HALVES, PIXEL, N, write_half_maps
from tests.reference.phantoms import blob_map
from tests.reference.relion_programs import read_mrc, write_mrc


@pytest.fixture
def halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    monkeypatch.chdir(tmp_path)
    return write_half_maps(tmp_path)


class TestCommand:
    def test_all_at_once(
        self, halves: list[np.ndarray], capfd: pytest.CaptureFixture[str]
    ) -> None:
        arguments = (
            f"postprocess --i {HALVES[1]} --o job002/post --auto_mask --auto_bfac "
            "--autob_lowres 16 --low_pass -1 --half_maps --pipeline_control job002/"
        )
        assert main(arguments.split()) == 0
        files = {path.name for path in Path("job002").iterdir()}
        assert files >= {
            "post.mrc", "post_masked.mrc", "post_mask.mrc", "post_half1.mrc", "post_half2.mrc",
            "post.star", "post_fsc.xml", "post_fsc.dat", "post_fsc.png", "post_guinier.png",
            "RELION_JOB_EXIT_SUCCESS", "RELION_OUTPUT_NODES.star",
        }  # fmt: skip
        assert "Final resolution:" in capfd.readouterr().out
        mask = read_mrc(Path("job002/post_mask.mrc"))
        assert 0.02 < mask.mean() < 0.3
        # the sharpened half maps add up to the map
        sharp = read_mrc(Path("job002/post.mrc"))
        average = 0.5 * sum(read_mrc(Path(f"job002/post_half{h}.mrc")) for h in (1, 2))
        np.testing.assert_allclose(average, sharp, atol=1e-5 * np.abs(sharp).max())
        np.testing.assert_allclose(
            read_mrc(Path("job002/post_masked.mrc")), sharp * mask, atol=1e-5
        )
        nodes = read_star("job002/RELION_OUTPUT_NODES.star")["output_nodes"]
        assert nodes.columns["rlnPipeLineNodeName"][0] == "job002/post.mrc"
        rows = np.loadtxt("job002/post_fsc.dat")
        assert rows.shape == (N // 2 + 1, 6)
        assert rows[0, 1] == 999

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ("--i map.mrc", "half1' or 'half2'"),
            (f"--i {HALVES[0]} --mask mask.mrc --auto_mask", "give one of the two"),
            (f"--i {HALVES[0]} --masq mask.mrc", "did you mean --mask?"),
            (f"--i {HALVES[0]} --i2 small.mrc", "give the two half maps of one run"),
            (f"--i {HALVES[0]} --mask nowhere.mrc", "nowhere.mrc: cannot be read"),
            (f"--i {HALVES[0]} --i2 {HALVES[0]}", "never falls below 0.8"),
            (f"--i {HALVES[0]} --auto_mask --inimask_threshold 99", "give a lower --inimask"),
            (f"--i {HALVES[0]} --mask mask.mrc --randomize_at_A 3", "Nyquist is 4 Å"),
            (f"--i {HALVES[0]} --auto_bfac --autob_lowres 5 --autob_highres 4.9", "shells lie"),
        ],
    )
    def test_mistakes_are_one_line(
        self,
        halves: list[np.ndarray],
        capfd: pytest.CaptureFixture[str],
        arguments: str,
        said: str,
    ) -> None:
        write_mrc(Path("small.mrc"), np.zeros((8, 8, 8)), PIXEL)
        if "--i2 run" in arguments:
            arguments += " --mask mask.mrc"
        assert main(["postprocess", *arguments.split()]) == 1
        text = capfd.readouterr().err.splitlines()
        assert said in text[-1], text
        assert text[-1].startswith("clrelion postprocess: ")


def test_figures_show_what_was_found(halves: list[np.ndarray]) -> None:
    rules = SharpenRules(fit_bfactor=True, fit_lowres_angst=16)
    result = postprocess(PostprocessSettings(HALVES[0], mask="mask.mrc", sharpening=rules))
    plot = fsc_plot(result)
    shown = {curve.label: curve.y for curve in plot.curves}
    assert set(shown) == {"corrected", "unmasked", "masked", "random phases"}
    assert plot.curves[-1].label == "corrected"
    np.testing.assert_array_equal(shown["corrected"], result.fsc.corrected[1:])
    guinier = guinier_plot(result.sharpening.guinier)
    assert [curve.label for curve in guinier.curves][-1] == "fit"
    assert f"B = {result.sharpening.bfactor_angst2:.0f}" in guinier.title
    unmasked = fsc_plot(postprocess(PostprocessSettings(HALVES[0])))
    assert [curve.label for curve in unmasked.curves] == ["unmasked"]


def test_name_of_the_other_half() -> None:
    assert partner_of("half1/run_half1_class001_unfil.mrc") == "half1/run_half2_class001_unfil.mrc"
    assert partner_of("run_it003_half2_class001.mrc") == "run_it003_half1_class001.mrc"
    with pytest.raises(OptionsError, match="--i2"):
        partner_of("half1_and_half2.mrc")


class TestCorrectedFsc:
    def test_a_mask_gains_nothing_where_there_is_only_noise(self) -> None:
        """Masked noise correlates by the mask's own spectrum; the correction takes that away."""
        rng = np.random.default_rng(3)
        blobs, mask = blob_map(N, 60, 2.5, 3), raised_cosine_mask(N, 14.0, 4.0)
        first, second = (
            20 * blobs + rng.normal(size=blobs.shape) for _ in range(2)
        )
        fsc = corrected_fsc(first, second, mask, PIXEL)
        assert fsc.masked is not None
        assert fsc.mask_is_used
        beyond = slice(fsc.first_random_shell + 8, None)
        assert abs(fsc.corrected[beyond].mean()) < 0.05
        assert resolution_shell(fsc.corrected) >= resolution_shell(fsc.unmasked)

    def test_falls_back_to_the_unmasked_maps(self) -> None:
        """A mask beside the particle sees noise only."""
        rng = np.random.default_rng(5)
        truth = blob_map(N, 60, 1.3, 3)
        first, second = (truth + rng.normal(scale=0.05, size=truth.shape) for _ in range(2))
        mask = np.roll(raised_cosine_mask(N, 4.0, 2.0), 20, axis=0)
        fsc = corrected_fsc(first, second, mask, PIXEL)
        assert not fsc.mask_is_used
        np.testing.assert_array_equal(fsc.corrected, fsc.unmasked)
        forced = corrected_fsc(first, second, mask, PIXEL, force_mask=True)
        assert forced.mask_is_used
        assert resolution_shell(forced.corrected) < resolution_shell(fsc.unmasked)

    def test_identical_maps_are_refused(self) -> None:
        truth = blob_map(24)
        with pytest.raises(NumericalError, match="randomize_at_A"):
            corrected_fsc(truth, truth, np.ones_like(truth), PIXEL)

    def test_particle_fsc(self) -> None:
        """A particle that fills the box changes nothing; in a larger box the FSC is diluted."""
        fsc = np.array([1.0, 0.5, 0.1, 0.0])
        np.testing.assert_allclose(particle_fsc(fsc, 1.0), fsc)
        np.testing.assert_allclose(particle_fsc(fsc, 4.0), [1.0, 0.8, 0.4 / 1.3, 0.0])


class TestSharpen:
    def test_bfactor_of_a_known_envelope_is_found(self) -> None:
        """White noise with an envelope exp(-B q^2/4) has the B-factor B."""
        rng = np.random.default_rng(2)
        noise = rng.normal(size=(N, N, N))
        flat = np.ones(N // 2 + 1)
        damped, _ = sharpen(noise, PIXEL, flat, SharpenRules(bfactor_angst2=200.0))
        # (half of the last shell lies beyond Nyquist, where it was cut off)
        rules = SharpenRules(fit_bfactor=True, fit_lowres_angst=20.0, fit_highres_angst=4.1)
        _, sharpening = sharpen(damped, PIXEL, flat, rules)
        assert sharpening.bfactor_angst2 == pytest.approx(-200.0, abs=4.0)
        assert sharpening.guinier.correlation == pytest.approx(1.0, abs=0.01)
        spread = np.ptp(sharpening.guinier.sharpened[2:-1])
        assert spread < 0.3 < np.ptp(sharpening.guinier.weighted[2:-1])

    def test_fsc_weights_and_low_pass(self) -> None:
        fsc = np.linspace(1.0, -0.2, N // 2 + 1)
        _, sharpening = sharpen(blob_map(N), PIXEL, fsc, SharpenRules())
        shell = 10
        expected = np.sqrt(2 * fsc[shell] / (1 + fsc[shell]))
        assert sharpening.factors[shell**2] == pytest.approx(expected)
        first_negative = int(np.argmax(fsc < 1e-4))
        assert sharpening.factors[(first_negative - 1) ** 2] > 0
        assert (sharpening.factors[first_negative**2 :] == 0).all()
        rules = SharpenRules(weight_by_fsc=False, low_pass_angst=N * PIXEL / 10.2, low_pass_edge=4)
        _, passed = sharpen(blob_map(N), PIXEL, fsc, rules)
        assert passed.factors[100] == pytest.approx(0.5)
        assert passed.factors[64] == pytest.approx(1.0)
        assert passed.factors[144] == pytest.approx(0.0, abs=1e-12)


class TestMask:
    def test_noise_is_left_out(self) -> None:
        rng = np.random.default_rng(7)
        truth = blob_map(N, 60, 1.3, 3)
        noisy = truth + rng.normal(scale=0.15, size=truth.shape)
        mask, threshold = make_mask(noisy, PIXEL, MaskRules())
        assert threshold > 0
        assert mask[truth > 0.5].min() == 1.0
        z, y, x = np.mgrid[:N, :N, :N] - N // 2
        assert mask[x**2 + y**2 + z**2 > (N // 2) ** 2].max() == 0.0

    def test_threshold_is_relative_to_the_solvent(self) -> None:
        rng = np.random.default_rng(7)
        noise = rng.normal(3.0, 0.5, size=(N, N, N))
        assert automatic_threshold(noise) == pytest.approx(3.0 + 5 * 0.5, rel=0.02)

    def test_extremes_are_refused(self) -> None:
        with pytest.raises(ImageError, match="higher --inimask_threshold"):
            make_mask(blob_map(16), PIXEL, MaskRules(-10.0))
