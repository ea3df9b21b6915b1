from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clrelion.errors import NumericalError
from clrelion.fourier.shells import pixels_per_shell
from clrelion.maximization import spectra
from clrelion.maximization.sums import BackprojectionSums
from tests.reference.relion_programs import (
    assert_as_written,
    read_model,
    read_model_spectra,
    read_mrc,
)

N, R, P = 24, 10, 2.0


def flat_sums(weight: float = 3.0, padding: float = P) -> BackprojectionSums:
    sums = BackprojectionSums.zeros(padding, R, N)
    sums.weight += weight
    return sums


def random_sums(padding: float = P) -> BackprojectionSums:
    sums = flat_sums(0.0, padding)
    sums.weight += np.random.default_rng(0).uniform(size=sums.weight.shape)
    return sums


@pytest.mark.parametrize(
    ("fsc", "halves", "joined"),
    [
        (0.143, 0.16686, 1.00088),
        (0.5, 1.0, 4.4495),
        (0.8, 4.0, 16.485),
        (0.9995, 999.0, 999.0),
        (1.0, 999.0, 999.0),
        (0.0, 0.001001, 0.046791),
        (-0.3, 0.001001, 0.046791),
    ],
)
def test_fsc_to_data_versus_prior(fsc: float, halves: float, joined: float) -> None:
    # specification M 10.1 item 6 and M 3.2
    curve = np.full(N // 2 + 1, fsc)
    for is_joined, expected in ((False, halves), (True, joined)):
        found = spectra.gold_standard_spectra(flat_sums(), curve, is_joined=is_joined).result()
        np.testing.assert_allclose(found.data_vs_prior, expected, rtol=2e-5)


def test_gold_standard_identities() -> None:
    fsc = np.linspace(1.0, 0.0, N // 2 + 1)
    found = spectra.gold_standard_spectra(flat_sums(3.0), fsc, tau2_fudge=2.0).result()
    np.testing.assert_allclose(found.sigma2[: R + 1], 1 / (P**3 * 3.0))
    np.testing.assert_array_equal(found.sigma2[R + 1 :], 0.0)
    np.testing.assert_allclose(found.tau2, found.data_vs_prior * found.sigma2)
    # coverage: W p^3 T tau2 >= 1, that is T dvp >= 1
    expected = (2.0 * found.data_vs_prior >= 1.0).astype(float)
    expected[R + 1 :] = 0.0
    np.testing.assert_array_equal(found.fourier_coverage, expected)


@pytest.mark.parametrize("padding", [2.0, 1.85])
def test_noise_power_is_the_inverse_mean_weight(padding: float) -> None:
    sums = random_sums(padding)
    radius = sums.padded_radius
    k = np.arange(-radius - 1, radius + 2)
    r2 = k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(radius + 2) ** 2
    shells = np.floor(np.sqrt(r2) / padding + 0.5)
    found = spectra.gold_standard_spectra(sums, np.full(N // 2 + 1, 0.5)).result().sigma2
    for shell in range(R + 1):
        chosen = (shells == shell) & (r2 < radius**2)
        assert found[shell] == pytest.approx(1 / (padding**3 * sums.weight[chosen].mean()))


def test_doubling_the_particles_halves_the_noise() -> None:
    # specification M 10.1 item 2
    one = random_sums()
    two = one.copy()
    two.add(one)
    fsc = np.full(N // 2 + 1, 0.5)
    np.testing.assert_allclose(
        spectra.gold_standard_spectra(two, fsc).result().sigma2,
        spectra.gold_standard_spectra(one, fsc).result().sigma2 / 2,
    )


def test_wiener_limit_of_classification() -> None:
    # specification M 10.1 item 5
    tau2 = np.full(N // 2 + 1, 0.02)
    found = spectra.classification_spectra(flat_sums(3.0), tau2, tau2_fudge=4.0).result()
    np.testing.assert_allclose(found.data_vs_prior[: R + 1], P**3 * 4.0 * 0.02 * 3.0)
    np.testing.assert_array_equal(found.data_vs_prior[R + 1 :], 0.0)
    np.testing.assert_array_equal(found.tau2, tau2)
    np.testing.assert_array_equal(found.fourier_coverage[: R + 1], 1.0)
    assert found.overall_coverage == 1.0


def test_classification_without_prior_and_with_premultiplied_data() -> None:
    sums = random_sums()
    tau2 = np.full(N // 2 + 1, 0.02)
    tau2[7] = 0.0
    plain = spectra.classification_spectra(sums, tau2).result()
    edge = sums.padded_radius + 1
    k = np.arange(-edge, edge + 1)
    r = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(edge + 1) ** 2) / P
    chosen = np.floor(r + 0.5) == 7
    assert plain.data_vs_prior[7] == pytest.approx(0.001 * np.mean(sums.weight[chosen] ** 2))
    other = sums.weight[np.floor(r + 0.5) == 6]
    assert plain.fourier_coverage[6] == np.mean(P**3 * 0.02 * other >= 1)
    ctf2 = np.full(N // 2 + 1, 0.25)
    premultiplied = spectra.classification_spectra(sums, tau2, ctf2=ctf2).result()
    np.testing.assert_allclose(premultiplied.data_vs_prior, 0.25 * plain.data_vs_prior)
    np.testing.assert_array_equal(premultiplied.sigma2, plain.sigma2)


def test_average_ctf2() -> None:
    counts = pixels_per_shell(N)
    sums = np.stack([0.5 * 10 * counts, 0.25 * 30 * counts])
    found = spectra.average_ctf2(sums, np.array([10.0, 30.0]), N)
    np.testing.assert_allclose(found, (0.5 * 10 + 0.25 * 30) / 40)
    np.testing.assert_array_equal(spectra.average_ctf2(0 * sums, np.zeros(2), N), 1.0)


def test_negative_weights_are_reported() -> None:
    with pytest.raises(NumericalError, match="weights of shell 0"):
        spectra.gold_standard_spectra(flat_sums(-1.0), np.ones(N // 2 + 1))


def test_overall_coverage_ends_before_the_first_unresolved_shell() -> None:
    coverage = np.array([1.0, 0.5, 0.25, 1.0])
    counts = np.array([1, 10, 20, 40])
    ratio = np.array([5.0, 2.0, 0.5, 7.0])
    found = spectra.overall_fourier_coverage(coverage, ratio, counts)
    assert found == pytest.approx((1.0 + 5.0) / 11)


def test_initial_spectra_equal_relions(shared: Path) -> None:
    run = shared / "data/steps/pol/base"
    blocks = read_model(run / "run_it000_model.star")
    noise = np.atleast_2d(blocks["model_optics_group_1"]["rlnSigma2Noise"].to_numpy(float))
    volume = read_mrc(run / "run_it000_class001.mrc")
    tau2, ratio = spectra.initial_spectra(volume, noise, 140.0, 4.0)
    expected = read_model_spectra(run / "run_it000_model.star")
    # the map is single precision: shells beyond the filter hold its rounding
    np.testing.assert_allclose(tau2[:6], expected["ReferenceTau2"][:6], rtol=1e-6)
    np.testing.assert_allclose(ratio[:6], expected["SsnrMap"][:6], rtol=1e-6)
    assert tau2[7:].max() < 1e-9
    assert_as_written(np.zeros(26), expected["GoldStandardFsc"][7:])


@pytest.mark.parametrize("half", [1, 2])
@pytest.mark.parametrize("iteration", [2, 3, 4])
def test_gold_standard_identities_hold_in_relions_files(
    shared: Path, iteration: int, half: int
) -> None:
    path = shared / f"data/steps/pol/auto/run_it{iteration:03d}_half{half}_model.star"
    table = read_model_spectra(path)
    sums = BackprojectionSums.zeros(1.85, 16, 64)
    sums.weight += 1.0
    ours = spectra.gold_standard_spectra(sums, table["GoldStandardFsc"]).result()
    theirs = table["SsnrMap"]
    np.testing.assert_allclose(ours.data_vs_prior, theirs, rtol=2e-3, atol=6e-7)
    product = ours.data_vs_prior * table["ReferenceSigma2"]
    np.testing.assert_allclose(product, table["ReferenceTau2"], rtol=2e-3, atol=6e-7)
