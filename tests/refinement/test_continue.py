"""``--continue``: goes on as if it had not been interrupted; bad files are one clear line."""

from __future__ import annotations

import re
import shutil
import types
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from clrelion.io.particle_table import read_particles
from clrelion.io.run_files import read_model, read_optimiser, read_sampling
from clrelion.options import RefineOptions, flags
from clrelion.orientations.euler import angles_distance_deg
from clrelion.orientations.symmetry import PointGroup
from clrelion.refinement.own_options import own_labels, stored_own_options
from clrelion.refinement.restart import read_stored_run, stored_options
from clrelion.refinement.schedule import measure_changes
from clrelion.refinement.state import RunState
from tests.reference.refine_program import (
    BETAGAL,
    CLASS3D,
    REFINE3D,
    changed,
    map_fsc,
    read_map,
    relative_difference,
    run_refine,
    succeed,
    write_small_set,
)
from tests.refinement.conftest import WholeRun

# Decided once, before the first iteration that is compared; continued runs do without.
START_ONLY = {
    "firstiter_cc", "ini_high_angst", "ref_pixel_size_angst", "trust_ref_size",
    "ctf_uncorrected_ref", "sigma2_noise_file", "n_particles_sigma2_noise", "dont_check_norm",
    "skip_maximize",
}  # fmt: skip
# The state holds these: the sampling, the priors, the increment; --no_* went into what is stored.
IN_THE_STATE = {
    "psi_step_deg", "offset_range_px", "offset_step_px", "sigma_ang_deg", "sigma_rot_deg",
    "sigma_tilt_deg", "sigma_psi_deg", "sigma_offset_angst", "incr_size", "no_norm", "no_scale",
}  # fmt: skip


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an auto-refine that stopped after two iterations."""
    folder = tmp_path_factory.mktemp("split")
    write_small_set(folder)
    succeed(folder, changed(REFINE3D, "--auto_iter_max 2"))
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a classification of one iteration, to be copied."""
    folder = tmp_path_factory.mktemp("done")
    write_small_set(folder)
    succeed(folder, changed(CLASS3D, "--iter 1"))
    return folder


@pytest.fixture
def folder(done: Path, tmp_path: Path) -> Path:
    """Project folder with 24 particles after one iteration."""
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    return tmp_path


def assert_same_iteration(folder: Path, first: str, second: str, group: str, halves: bool) -> None:
    """Files of an iteration under two roots hold the same, but for the rounding of STAR files."""
    tables = [read_particles(folder / f"{root}_data.star") for root in (first, second)]
    assert tables[0].image_name == tables[1].image_name
    n_equal = 0
    for i in range(tables[0].n):
        angles = [[[t.rot_deg[i], t.tilt_deg[i], t.psi_deg[i]]] for t in tables]
        offsets = [[[t.origin_x_angst[i]], [t.origin_y_angst[i]]] for t in tables]
        classes = [[t.class_number[i]] for t in tables]
        found = measure_changes(
            angles_distance_deg(angles[0], angles[1], PointGroup.from_name(group).operators),
            offsets[0], offsets[1], classes[0], classes[1],
        )  # fmt: skip
        is_equal = found.orientations_deg < 1e-3 and found.offsets_angst < 1e-3
        n_equal += is_equal and found.classes == 0
    assert n_equal >= 0.999 * tables[0].n
    parts = ("_half1", "_half2") if halves else ("",)
    for part in parts:
        models = [read_model(folder / f"{root}{part}_model.star") for root in (first, second)]
        for name in ("current_size", "n_classes", "tau2_fudge", "padding_factor"):
            assert getattr(models[0], name) == getattr(models[1], name)
        for name in ("sigma2_noise", "tau2", "scale_correction", "pdf_class", "acc_rot_deg"):
            a, b = (np.asarray(getattr(model, name)) for model in models)
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-6, err_msg=name)
        for k in range(models[0].n_classes):
            maps = [read_map(folder / f"{r}{part}_class{k + 1:03d}.mrc") for r in (first, second)]
            assert relative_difference(maps[0], maps[1]) < 1e-3
    samplings = [read_sampling(folder / f"{root}_sampling.star") for root in (first, second)]
    assert samplings[0].perturbation == pytest.approx(samplings[1].perturbation, abs=2e-6)
    assert samplings[0].healpix_order == samplings[1].healpix_order
    optimisers = [read_optimiser(folder / f"{root}_optimiser.star") for root in (first, second)]
    for optimiser in optimisers:
        optimiser.command_line = optimiser.output_root = ""
    assert optimisers[0].own_options == optimisers[1].own_options
    for name in ("n_iter_without_resolution_gain", "n_iter_without_assignment_changes",
                 "incr_size", "has_high_fsc_at_limit", "do_auto_refine",
                 "do_split_random_halves"):  # fmt: skip
        assert getattr(optimisers[0], name) == getattr(optimisers[1], name), name


class TestOurFiles:
    """A continued run equals the uninterrupted one."""

    @pytest.mark.parametrize("start", [1, 6])
    def test_auto_refine(self, betagal: WholeRun, start: int) -> None:
        root = "Refine3D/job001/run"
        command = f"--continue {root}_it{start:03d}_optimiser.star --o again{start}/run"
        succeed(betagal.folder, f"{command} --auto_iter_max {start + 2} --device cpu")
        for number in range(start, start + 3):
            names = [f"{r}_it{number:03d}" for r in (root, f"again{start}/run")]
            assert_same_iteration(betagal.folder, names[0], names[1], "D2", halves=True)

    def test_convergence_is_not_put_off(self, betagal: WholeRun) -> None:
        root = betagal.folder / "Refine3D" / "job001"
        last = max(int(path.name[6:9]) for path in root.glob("run_it*_optimiser.star"))
        command = f"--continue Refine3D/job001/run_it{last:03d}_optimiser.star --o end/run"
        ended = succeed(betagal.folder, f"{command} --device cpu")
        assert "Refinement has converged" in ended.out
        assert not (betagal.folder / "end" / f"run_it{last + 1:03d}_optimiser.star").exists()
        maps = [read_map(folder / "run_class001.mrc") for folder in (root, betagal.folder / "end")]
        assert relative_difference(maps[1], maps[0]) < 1e-3

    @pytest.mark.parametrize("start", [1, 2])
    def test_seeded_classification(self, folder: Path, start: int) -> None:
        """From iteration 1, too, where all classes still share one map."""
        # minres_map decides about the resolution here, sigma2_fudge about the posterior
        options = "--K 2 --iter 4 --sigma2_fudge 4 --minres_map 3 --psi_step 20"
        succeed(folder, changed(CLASS3D, options))
        command = f"--continue out/run_it{start:03d}_optimiser.star --o again/run"
        succeed(folder, f"{command} --device cpu")  # --iter is stored
        assert_same_iteration(folder, "out/run_it004", "again/run_it004", "D2", halves=False)

    def test_default_root_and_more_iterations(self, folder: Path) -> None:
        ended = succeed(folder, "--continue out/run_it001_optimiser.star --iter 2 --device cpu")
        assert "Map: out/run_ct1_it002_class001.mrc" in ended.out
        # the iteration it starts from is written, too (specification F.4)
        first, again = (folder / "out" / f"{r}_it001_class001.mrc" for r in ("run", "run_ct1"))
        np.testing.assert_array_equal(read_map(first), read_map(again))

    def test_continued_twice_under_its_own_root(self, folder: Path) -> None:
        succeed(folder, changed(CLASS3D, "--iter 1 --sigma2_fudge 2"))
        for number in (1, 2):
            command = f"--continue out/run_it{number:03d}_optimiser.star --o out/run"
            succeed(folder, f"{command} --iter {number + 1} --device cpu")
        optimiser = read_optimiser(folder / "out/run_it003_optimiser.star")
        assert optimiser.output_root == "out/run"
        assert optimiser.own_options["clrelionSigma2Fudge"] == "2.0"

    def test_nothing_left_to_do(self, folder: Path) -> None:
        ended = run_refine(folder, "--continue out/run_it001_optimiser.star --device cpu")
        assert ended.code == 1
        assert "has done its 1 iterations; give a larger --iter" in ended.err

    def test_from_another_working_directory(self, tmp_path: Path) -> None:
        project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
        for place in (project, elsewhere):
            place.mkdir()
        write_small_set(project)
        succeed(project, changed(CLASS3D, "--iter 1"))
        optimiser = project / "out" / "run_it001_optimiser.star"
        ended = succeed(elsewhere, f"--continue {optimiser} --o here/run --iter 2 --device cpu")
        assert f"reading them from {project}" in ended.err
        assert (elsewhere / "here" / "run_it002_class001.mrc").is_file()

    def test_after_the_project_moved(self, tmp_path: Path) -> None:
        before, after = tmp_path / "before", tmp_path / "after"
        before.mkdir()
        write_small_set(before)
        succeed(before, changed(CLASS3D, "--iter 1"))
        before.rename(after)
        succeed(after, "--continue out/run_it001_optimiser.star --o out/run --iter 2 --device cpu")

    def test_images_beside_the_first_star_file(self, tmp_path: Path) -> None:
        """The particles of `make demo`: neither the data file's folder nor the cwd has them."""
        (tmp_path / "set").mkdir()
        write_small_set(tmp_path / "set")
        inputs = "--i set/particles.star --ref set/ref.mrc --iter 1"
        succeed(tmp_path, changed(CLASS3D, inputs))
        for number in (1, 2):
            command = f"--continue out/run_it{number:03d}_optimiser.star --o out/run"
            succeed(tmp_path, f"{command} --iter {number + 1} --device cpu")

    def test_given_options_override(self, folder: Path) -> None:
        command = "--continue out/run_it001_optimiser.star --o out/ct --iter 2 --device cpu"
        given = "--tau2_fudge 2 --healpix_order 2 --offset_range 1 --maxsig 9 --sigma_ang 8"
        succeed(folder, f"{command} {given} --no_norm --minres_map 4")
        model = read_model(folder / "out/ct_it002_model.star")
        assert (model.tau2_fudge, model.sigma_rot_deg) == (2, 8)
        sampling = read_sampling(folder / "out/ct_it002_sampling.star")
        assert (sampling.healpix_order, sampling.psi_step_deg) == (2, 15)
        assert sampling.offset_range_angst == pytest.approx(3.415102, rel=1e-5)
        optimiser = read_optimiser(folder / "out/ct_it002_optimiser.star")
        assert (optimiser.max_significant, optimiser.do_norm_correction) == (9, False)
        assert optimiser.own_options["clrelionMinresMap"] == "4"

    def test_stored_options_hold(self, folder: Path) -> None:
        command = "--continue out/run_it001_optimiser.star --o out/ct --iter 2 --device cpu"
        ended = succeed(folder, f"{command} --sym C3 --K 2")
        assert "--sym has no effect with --continue: the stored run's value D2 counts" in ended.err
        assert read_sampling(folder / "out/ct_it002_sampling.star").symmetry == "D2"


class TestJoiningHalves:
    """``--force_converge`` and ``--join_random_halves``."""

    def test_force_converge(self, split: Path) -> None:
        command = "--continue out/run_it002_optimiser.star --force_converge --device cpu"
        ended = succeed(split, f"{command} --o forced/run")
        assert "Auto-refine: Refinement has converged" in ended.out
        names = {p.name for p in (split / "forced").iterdir()}
        final = {"class001.mrc", "data.star", "model.star", "optimiser.star", "sampling.star"}
        final |= {"half1_class001_unfil.mrc", "half2_class001_unfil.mrc"}
        assert {f"run_{name}" for name in final} <= names
        assert not [name for name in names if "it003" in name]
        model = read_model(split / "forced" / "run_model.star")
        assert model.current_size == model.ori_size
        halves = [read_map(split / f"forced/run_half{h}_class001_unfil.mrc") for h in (1, 2)]
        joined = read_map(split / "forced/run_class001.mrc")
        assert map_fsc(joined, halves[0] + halves[1])[1:8].min() > 0.95
        ended = run_refine(split, "--continue forced/run_optimiser.star --device cpu")
        assert ended.code == 1
        assert "this run has converged; continue from the optimiser file of a num" in ended.err

    def test_join_random_halves(self, split: Path) -> None:
        command = "--continue out/run_it002_optimiser.star --join_random_halves --device cpu"
        succeed(split, f"{command} --o joined/run --auto_iter_max 3")
        optimiser = read_optimiser(split / "joined/run_it003_optimiser.star")
        assert optimiser.model_star2 is None
        assert not optimiser.do_split_random_halves
        joined = read_map(split / "joined/run_it003_class001.mrc")
        halves = [read_map(split / f"out/run_it002_half{h}_class001.mrc") for h in (1, 2)]
        assert map_fsc(joined, halves[0] + halves[1])[1:6].min() > 0.7

    def test_need_halves(self, folder: Path) -> None:
        for flag in ("--force_converge", "--join_random_halves"):
            ended = run_refine(
                folder, f"--continue out/run_it001_optimiser.star {flag} --iter 2 --device cpu"
            )
            assert ended.code == 1
            assert f"this run has no half-sets, so {flag} does not apply" in ended.err


class TestRelionFiles:
    """RELION 5's files (shared/data/steps)."""

    def test_one_iteration_beyond(self, shared: Path, tmp_path: Path) -> None:
        base = shared / "data/steps/bg/base"
        if not (base / "run_it003_class001.mrc").is_file():
            pytest.skip(f"{base} has no map of iteration 3")
        shutil.copy(BETAGAL / "particles.mrcs", tmp_path)
        optimiser = base / "run_it003_optimiser.star"
        succeed(tmp_path, f"--continue {optimiser} --iter 4 --o out/run --device cpu")
        before, after = (
            read_particles(f)
            for f in (base / "run_it003_data.star", tmp_path / "out/run_it004_data.star")
        )
        assert after.image_name == before.image_name
        found = measure_changes(
            angles_distance_deg(
                np.stack([after.rot_deg, after.tilt_deg, after.psi_deg], -1),
                np.stack([before.rot_deg, before.tilt_deg, before.psi_deg], -1),
                PointGroup.from_name("D2").operators,
            ),
            [after.origin_x_angst, after.origin_y_angst],
            [before.origin_x_angst, before.origin_y_angst],
            after.class_number, before.class_number,
        )  # fmt: skip
        assert found.orientations_deg < 10  # of all orientations: 30 degrees and more
        volumes = [
            read_map(f)
            for f in (base / "run_it003_class001.mrc", tmp_path / "out/run_it004_class001.mrc")
        ]
        assert map_fsc(*volumes)[1:8].min() > 0.95
        model = read_model(tmp_path / "out/run_it004_model.star")
        stored = read_model(base / "run_it003_model.star")
        assert model.tau2_fudge == stored.tau2_fudge == 4
        np.testing.assert_allclose(model.sigma2_noise[0, 1:20], stored.sigma2_noise[0, 1:20], 0.25)


def cut_label(label: str, name: str = "run_it001_optimiser.star") -> Callable[[Path], None]:
    def cut(out: Path) -> None:
        text, n = re.subn(rf"^_{label} .*\n", "", (out / name).read_text(), flags=re.MULTILINE)
        assert n == 1
        (out / name).write_text(text)

    cut.__name__ = f"without_{label}"
    return cut


def remove(name: str) -> Callable[[Path], None]:
    def unlink(out: Path) -> None:
        (out / name).unlink()

    unlink.__name__ = f"without_{name}"
    return unlink


def give_model_as_optimiser(out: Path) -> None:
    shutil.copy(out / "run_it001_model.star", out / "run_it001_optimiser.star")


def cut_map(out: Path) -> None:
    path = out / "run_it001_class001.mrc"
    path.write_bytes(path.read_bytes()[:5000])


class TestBadFiles:
    """What cannot be continued says why, and writes nothing."""

    @pytest.mark.parametrize(
        ("spoil", "says"),
        [
            (cut_label("rlnRandomSeed"), ["run_it001_optimiser.star", "rlnRandomSeed"]),
            (cut_label("rlnHasConverged"), ["run_it001_optimiser.star", "rlnHasConverged"]),
            (
                cut_label("rlnSigmaOffsetsAngst", "run_it001_model.star"),
                ["run_it001_model.star", "rlnSigmaOffsetsAngst"],
            ),
            (
                cut_label("rlnHealpixOrder", "run_it001_sampling.star"),
                ["run_it001_sampling.star", "rlnHealpixOrder"],
            ),
            (remove("run_it001_optimiser.star"), ["run_it001_optimiser.star", "check the path"]),
            (remove("run_it001_model.star"), ["run_it001_model.star", "check the path"]),
            (remove("run_it001_sampling.star"), ["run_it001_sampling.star", "check the path"]),
            (remove("run_it001_data.star"), ["run_it001_data.star", "check the path"]),
            (remove("run_it001_class001.mrc"), ["run_it001_class001.mrc", "check the path"]),
            (cut_map, ["run_it001_class001.mrc", "is truncated"]),
            (give_model_as_optimiser, ["--continue needs the _optimiser.star"]),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_one_line(self, folder: Path, spoil: Callable[[Path], None], says: list[str]) -> None:
        spoil(folder / "out")
        command = "--continue out/run_it001_optimiser.star --o new/run --iter 2 --device cpu"
        ended = run_refine(folder, command)
        assert ended.code == 1
        assert ended.err.count("\n") == 1, ended.err
        assert "unexpected" not in ended.err
        for part in says:
            assert part in ended.err
        assert not list((folder / "new").iterdir())


class TestStoredOptions:
    """No option is forgotten."""

    def test_every_option_that_goes_on_is_stored(self, folder: Path) -> None:
        stored = stored_options(read_stored_run(str(folder / "out/run_it001_optimiser.star")))
        wanted = {name for name, flag in flags().items() if flag.continuation != "command"}
        assert wanted - START_ONLY - IN_THE_STATE == set(stored) - {"output_root"}

    def test_own_options_come_back(self) -> None:
        state = types.SimpleNamespace(
            image_folder="/i", pixel_size_angst=1.5, perturbation=0.1,
            schedule=types.SimpleNamespace(has_fine_enough=True),
        )  # fmt: skip
        given = {
            "particles_star": "p.star", "output_root": "o", "reference": "r.mrc",
            "minres_map": 7, "sigma2_fudge": 1.25, "min_sigma2_offset_angst2": 0.5,
            "consistent_offset_prior": True, "always_cc": True, "relion_quirks": True,
        }  # fmt: skip
        options = RefineOptions.from_values(given)
        labels = own_labels(options, cast(RunState, state))
        wanted = {name: given[name] for name in stored_own_options(labels)}
        assert len(wanted) == 6
        assert RefineOptions.from_values({**given, **stored_own_options(labels)}) == options
        assert stored_own_options({}) == {}

    def test_options_that_are_off(self, folder: Path) -> None:
        optimiser = read_optimiser(folder / "out/run_it001_optimiser.star")
        for name in ("low_resol_join_halves_angst", "max_coarse_size_px", "highres_limit_angst",
                     "lowres_limit_angst", "max_significant"):  # fmt: skip
            assert getattr(optimiser, name) == -1
        for name in ("solvent_mask", "solvent_mask2", "tau_spectrum", "model_star2"):
            assert getattr(optimiser, name) is None
        stored = stored_options(read_stored_run(str(folder / "out/run_it001_optimiser.star")))
        for name in ("low_resol_join_halves_angst", "max_coarse_size_px", "max_significant",
                     "strict_highres_exp_angst", "strict_lowres_exp_angst"):  # fmt: skip
            assert stored[name] is None
