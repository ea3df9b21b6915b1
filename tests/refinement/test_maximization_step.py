"""The maximization step puts its parts together in the right order (specification M 4.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clrelion.errors import NumericalError
from clrelion.expectation.results import ExpectationResult
from clrelion.maximization import update_model
from clrelion.maximization.half_maps import half_set_fsc
from clrelion.maximization.reconstruct import reconstruct
from clrelion.maximization.solvent import SolventMasks, spherical_solvent_mask
from clrelion.maximization.sums import (
    BackprojectionSums,
    ParameterSums,
    join_low_resolution,
)
from clrelion.orientations.symmetry import PointGroup
from clrelion.refinement.maximization_step import Maximization, MaximizationResult
from clrelion.refinement.state import RunState
from tests.refinement.small_state import (
    PIXEL,
    SIGMA2,
    N,
    S,
    ended,
    half_model,
    options_of,
    result,
    run_state,
    truth,
)

C1 = PointGroup.from_name("C1")


def run(
    state: RunState,
    results: list[ExpectationResult],
    *arguments: str,
    iteration: int = 3,
    is_cc: bool = False,
    is_last: bool = False,
    **parts: Any,
) -> MaximizationResult:
    options = options_of("--K", str(state.n_classes), *arguments)
    values = {"masks": None, "solvent_mask": None, "fixed_tau2": None, **parts}
    step = Maximization(options, C1, values["masks"], values["solvent_mask"], values["fixed_tau2"])
    return step.run(state, ended(results), S, iteration, is_cc, is_last)


def correlation(one: Any, two: Any) -> float:
    return float(np.corrcoef(np.ravel(one), np.ravel(two))[0, 1])


class TestClassification:
    def test_maps_and_parameters(self) -> None:
        """Each class gets its own map; parameters follow the update rules."""
        state = run_state(2)
        for model in state.models:
            model.tau2[:] = 1.0
        results = [result([4.0, 2.0])]
        sums = results[0].parameters.copy()
        new = run(state, results, "--norm", "--scale").models[0]
        for k in range(2):
            assert correlation(new.maps[k], truth(k)) > 0.97
            assert correlation(new.maps[k], truth(1 - k)) < 0.9
        old = half_model(2)
        np.testing.assert_array_equal(new.pdf_class, [4 / 6, 2 / 6])
        np.testing.assert_array_equal(new.pdf_direction, sums.pdf_direction / 6)
        assert new.ave_pmax == pytest.approx(0.4)
        assert new.sigma2_offset_angst2 == pytest.approx(20.0)
        assert new.avg_norm_correction == pytest.approx(0.9)
        assert new.log_likelihood == sums.log_likelihood
        np.testing.assert_array_equal(
            new.sigma2_noise, update_model.noise_spectra(sums, old.sigma2_noise)
        )
        # four particles of the first scale group, two of the second... by their rows
        counts = np.bincount(state.table.scale_group)
        np.testing.assert_array_equal(
            new.scale_correction, update_model.scale_corrections(sums, counts)
        )

    def test_nothing_but_priors_in_a_correlation_iteration(self) -> None:
        state = run_state(1)
        new = run(state, [result([6.0])], "--norm", "--scale", is_cc=True).models[0]
        np.testing.assert_array_equal(new.sigma2_noise, half_model(1).sigma2_noise)
        np.testing.assert_array_equal(new.scale_correction, [1.0, 1.0])
        assert new.avg_norm_correction == pytest.approx(0.9)
        # the mean correlation
        assert new.log_likelihood == pytest.approx(-123.0)

    def test_first_correlation_iteration_is_low_passed(self) -> None:
        state = run_state(1, iteration=0)
        arguments = ("--firstiter_cc", "--ini_high", "16")
        filtered, plain = (
            run(state, [result([6.0])], *arguments, iteration=i, is_cc=True).models[0]
            for i in (1, 2)
        )
        high = [np.abs(np.fft.fftn(m.maps[0]))[5, 5, 5] for m in (filtered, plain)]
        assert high[0] < 1e-6 * high[1]
        assert filtered.tau2[0, 5] == filtered.data_vs_prior[0, 5] == 0.0
        np.testing.assert_array_equal(filtered.tau2[0, 0], plain.tau2[0, 0])

    def test_fixed_parameters(self) -> None:
        state = run_state(1)
        new = run(
            state, [result([6.0])], "--fix_sigma_noise", "--fix_sigma_offset", "--skip_rotate"
        ).models[0]
        old = half_model(1)
        np.testing.assert_array_equal(new.sigma2_noise, old.sigma2_noise)
        np.testing.assert_array_equal(new.pdf_direction, old.pdf_direction)
        np.testing.assert_array_equal(new.scale_correction, old.scale_correction)
        assert new.sigma2_offset_angst2 == old.sigma2_offset_angst2
        assert new.avg_norm_correction == old.avg_norm_correction

    def test_a_class_that_received_nothing_is_empty(self) -> None:
        state = run_state(2)
        new = run(state, [result([6.0, 0.0])]).models[0]
        assert not new.maps[1].any()
        old = half_model(2)
        for name in ("tau2", "data_vs_prior", "sigma2_class", "fourier_coverage"):
            np.testing.assert_array_equal(getattr(new, name)[1], getattr(old, name)[1])
        assert not np.array_equal(new.data_vs_prior[0], old.data_vs_prior[0])
        assert new.pdf_class[1] == 0.0

    @pytest.mark.parametrize("premultiplied", [False, True])
    def test_sums_over_particles_wait_for_the_maps(self, premultiplied: bool) -> None:
        """Unless images are premultiplied."""
        state = run_state(2)
        for optics in state.table.optics:
            optics.ctf_premultiplied = premultiplied
        results = [result([4.0, 2.0])]
        results[0].parameters.ctf2[:] = 1.0
        given, counted = ended(results), [0]

        def parameters() -> list[ParameterSums]:
            assert counted[0] == (0 if premultiplied else 4)
            counted.append(counted[0])
            return [results[0].parameters]

        def count(n: int) -> None:
            counted[0] += n

        given.parameters = parameters
        step = Maximization(options_of("--K", "2"), C1, None, None, None)
        step.run(state, given, S, 3, False, False, count)
        assert len(counted) == 2

    def test_seeding(self) -> None:
        """Before the seeding iteration all classes take what the first one got."""
        state = run_state(3, seeding_iteration=4)
        new = run(state, [result([6.0, 0.0, 0.0])], iteration=3).models[0]
        for k in (1, 2):
            np.testing.assert_array_equal(new.maps[k], new.maps[0])
            np.testing.assert_array_equal(new.tau2[k], new.tau2[0])
        np.testing.assert_allclose(new.pdf_class, 1 / 3)
        assert new.pdf_direction.sum() == pytest.approx(1.0)
        seeded = run(state, [result([4.0, 1.0, 1.0])], iteration=4).models[0]
        np.testing.assert_allclose(seeded.pdf_class, [4 / 6, 1 / 6, 1 / 6])

    def test_solvent_is_flattened(self) -> None:
        sphere = spherical_solvent_mask(N, PIXEL, 12.0, 1.0)
        masks = SolventMasks(sphere, None)
        plain = run(run_state(1), [result([6.0])]).models[0]
        flat = run(run_state(1), [result([6.0])], masks=masks).models[0]
        np.testing.assert_allclose(flat.maps[0], plain.maps[0] * sphere, atol=1e-12)
        assert not np.allclose(flat.maps[0], plain.maps[0])

    def test_symmetry_is_applied(self) -> None:
        step = Maximization(options_of("--sym", "C2"), PointGroup.from_name("C2"), None, None, None)
        state = run_state(1)
        state.models[0].tau2[:] = 1.0
        volume = step.run(state, ended([result([6.0])]), S, 3, False, False).models[0].maps[0]
        turned = volume[1:, :0:-1, :0:-1]
        np.testing.assert_allclose(turned, volume[1:, 1:, 1:], atol=2e-3 * volume.max())

    def test_no_map_and_fixed_tau2(self) -> None:
        """Without a prior nothing is damped; a fixed spectrum is not replaced by the FSC's."""
        state = run_state(1)
        bare = run(state, [result([6.0])], "--no_map").models[0].maps[0]
        sums = result([6.0]).backprojections[0]
        sums.hermitian_repair()
        np.testing.assert_allclose(bare, reconstruct(sums, None), atol=1e-12)
        fixed = np.full(N // 2 + 1, 0.3)
        split = run_state(1, is_split=True)
        for model in split.models:
            model.tau2[:] = fixed
        new = run(
            split, [result([3.0], 1), result([3.0], 2)], "--auto_refine",
            "--split_random_halves", fixed_tau2=fixed,
        ).models[0]  # fmt: skip
        np.testing.assert_allclose(new.tau2[0][: S // 2], fixed[: S // 2])

    def test_nan_is_named(self) -> None:
        results = [result([6.0])]
        results[0].backprojections[0].data[8, 8, 3] = np.nan
        with pytest.raises(NumericalError, match=r"iteration 3, class 1: .*NaN"):
            run(run_state(1), results)


class TestSplitHalves:
    HALVES = ("--auto_refine", "--split_random_halves")

    def test_halves_stay_apart_but_share_sizes(self) -> None:
        state = run_state(1, is_split=True)
        results = [result([3.0], 1, 2e-3), result([2.9], 2, 2e-3)]
        sums = [r.parameters.copy() for r in results]
        made = run(state, results, *self.HALVES, "--norm", "--scale")
        assert len(made.models) == 2
        assert made.unfiltered_half_maps == []
        one, two = made.models
        assert not np.allclose(one.maps[0], two.maps[0])
        np.testing.assert_array_equal(one.data_vs_prior, two.data_vs_prior)
        assert one.ave_pmax == two.ave_pmax
        assert made.fsc_halves is not None
        np.testing.assert_array_equal(one.fsc_halves, made.fsc_halves)
        for half, (model, own) in enumerate(zip((one, two), sums, strict=True), start=1):
            assert model.log_likelihood == own.log_likelihood
            counts = np.bincount(state.table.scale_group[state.table.random_subset == half])
            np.testing.assert_array_equal(
                model.scale_correction, update_model.scale_corrections(own, counts)
            )
            np.testing.assert_array_equal(
                model.sigma2_noise, update_model.noise_spectra(own, half_model(1).sigma2_noise)
            )

    def test_low_resolution_is_joined_before_the_fsc(self) -> None:
        """Up to 40 Å or the present resolution, whichever is lower."""
        made = {}
        for join in ("-1", "12"):
            results = [result([3.0], h, 4e-2) for h in (1, 2)]
            made[join] = run(
                run_state(1, is_split=True), results, *self.HALVES,
                "--low_resol_join_halves", join,
            ).fsc_halves  # fmt: skip
        apart, joined = made["-1"], made["12"]
        assert apart is not None
        assert joined is not None
        np.testing.assert_allclose(joined[1:3], 1.0)
        assert (apart[1:3] < 0.9999).all()
        halves = [result([3.0], h, 4e-2).backprojections[0] for h in (1, 2)]
        for half in halves:
            half.hermitian_repair()
        one, two = halves
        join_low_resolution(one, two, int(np.ceil(32 / 12)))
        np.testing.assert_allclose(joined, half_set_fsc(one, two), atol=1e-12)

    def test_last_iteration_joins_the_halves(self) -> None:
        state = run_state(1, is_split=True)
        results = [result([3.0], h, 2e-3) for h in (1, 2)]
        masks = SolventMasks(np.zeros((N, N, N)), None)
        sums_of_all = results[0].parameters.copy()
        sums_of_all.add(results[1].parameters)
        made = run(state, results, *self.HALVES, "--norm", "--scale", is_last=True, masks=masks)
        assert len(made.models) == 1
        assert len(made.unfiltered_half_maps) == 2
        new = made.models[0]
        # not flattened
        assert correlation(new.maps[0], truth()) > 0.95
        assert new.log_likelihood == pytest.approx(-123.0 * 6)
        assert new.ave_pmax == pytest.approx(0.4)
        counts = np.bincount(state.table.scale_group)
        np.testing.assert_array_equal(
            new.scale_correction, update_model.scale_corrections(sums_of_all, counts)
        )
        expected = []
        for h in (1, 2):
            sums: BackprojectionSums = result([3.0], h, 2e-3).backprojections[0]
            sums.hermitian_repair()
            expected.append(reconstruct(sums, None))
        for found, volume in zip(made.unfiltered_half_maps, expected, strict=True):
            np.testing.assert_allclose(found, volume, atol=1e-12)
        one, two = made.unfiltered_half_maps
        assert not np.allclose(one, two)

    def test_solvent_corrected_fsc(self) -> None:
        """Noise outside of the mask does not count."""
        state = run_state(1, is_split=True)
        mask = spherical_solvent_mask(N, PIXEL, 18.0, 2.0)
        made = {}
        for flags in ((), ("--solvent_correct_fsc", "--solvent_mask", "m.mrc")):
            results = [result([3.0], h, 0.15) for h in (1, 2)]
            made[flags] = run(state, results, *self.HALVES, *flags, solvent_mask=mask)
        plain, corrected = made.values()
        assert plain.fsc_halves is not None
        assert corrected.fsc_halves is not None
        assert not np.allclose(plain.fsc_halves, corrected.fsc_halves)
        assert len(corrected.unfiltered_half_maps) == 2


def test_sigma2_is_that_of_the_weights() -> None:
    """Weights 1/sigma2 from every slice: sigma2 of the class is sigma2 over the slices there."""
    state = run_state(1)
    new = run(state, [result([6.0])]).models[0]
    inner = new.sigma2_class[0, 2 : S // 2]
    assert (inner > 0).all()
    assert (np.diff(inner) > 0).all()
    assert inner[0] < SIGMA2
