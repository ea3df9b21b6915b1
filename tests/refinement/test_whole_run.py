"""Whole runs through the command line: the real particles, and every option on a few of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from clrelion.fourier.masks import raised_cosine_mask
from clrelion.io.particle_table import ParticleTable, read_particles
from clrelion.io.run_files import ModelFile, read_model, read_optimiser, read_sampling
from clrelion.io.star import read_star
from clrelion.maximization.centring import centre_map, centre_of_mass
from tests.reference.refine_program import (
    BOX,
    CLASS3D,
    PIXEL,
    REFINE3D,
    Ended,
    changed,
    map_fsc,
    read_map,
    relative_difference,
    succeed,
    write_small_set,
    write_stack,
)
from tests.refinement.conftest import WholeRun

TIME_TABLE_ROWS = ["getImg", "getDiff", "convert", "store", "maximization", "others", "total"]
SPHERE_PX = 200 / (2 * PIXEL)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a plain classification into one class, for comparison."""
    folder = tmp_path_factory.mktemp("plain")
    write_small_set(folder)
    succeed(folder, CLASS3D)
    return folder


def model_of(folder: Path, name: str = "run_it002") -> ModelFile:
    return read_model(folder / "out" / f"{name}_model.star")


def table_of(folder: Path, name: str = "run_it002") -> ParticleTable:
    return read_particles(folder / "out" / f"{name}_data.star")


def map_of(folder: Path, name: str = "run_it002_class001") -> np.ndarray:
    return read_map(folder / "out" / f"{name}.mrc")


def agreement(folder: Path, plain: Path) -> float:
    """Mean FSC with the plain run in the shells that these particles resolve."""
    return float(map_fsc(map_of(folder), map_of(plain))[1:7].mean())


class TestRealParticles:
    """Issue 2: betagal80 by the command of shared/data/README.md."""

    @staticmethod
    def root(betagal: WholeRun) -> Path:
        return betagal.folder / "Refine3D" / "job001"

    def test_resolution(self, betagal: WholeRun) -> None:
        model = read_model(self.root(betagal) / "run_model.star")
        assert model.current_resolution_angst <= 18.3
        assert f"Final resolution: {model.current_resolution_angst:.2f} A" in betagal.log
        assert "Auto-refine: Refinement has converged" in betagal.log

    def test_map_agrees_with_relion(self, betagal: WholeRun, shared: Path) -> None:
        ours = read_map(self.root(betagal) / "run_class001.mrc")
        relion = read_map(shared / "data/betagal80/relion5/run_class001.mrc")
        n_shells = int(BOX * PIXEL / 20.0)  # down to 20 A
        assert map_fsc(ours, relion)[1 : n_shells + 1].min() > 0.90
        sphere = raised_cosine_mask(BOX, SPHERE_PX, 5)
        assert map_fsc(ours * sphere, relion * sphere)[1 : n_shells + 1].min() > 0.90

    def test_file_set(self, betagal: WholeRun) -> None:
        """Names of specification E 6.1."""
        root = self.root(betagal)
        last = max(int(p.name[6:9]) for p in root.glob("run_it*_optimiser.star"))
        expected = {"data.star", "model.star", "sampling.star", "optimiser.star", "class001.mrc"}
        expected |= {"class001_angdist.bild", "half1_class001_unfil.mrc"}
        expected |= {"half2_class001_unfil.mrc", "report.html", "report", "journal.star"}
        of_iteration = {"data.star", "sampling.star", "optimiser.star"}
        of_iteration |= {f"half{h}_{f}" for h in (1, 2) for f in ("model.star", "class001.mrc")}
        for number in range(last + 1):
            expected |= {f"it{number:03d}_{name}" for name in of_iteration}
            if number > 0:
                names = [f"it{number:03d}_half{h}_class001_angdist.bild" for h in (1, 2)]
                expected |= set(names)
        found = {p.name.removeprefix("run_") for p in root.iterdir() if p.name.startswith("run_")}
        assert found == expected
        assert read_optimiser(root / "run_optimiser.star").iteration == -1
        assert read_optimiser(root / "run_optimiser.star").model_star2 is None
        before = read_optimiser(root / f"run_it{last:03d}_optimiser.star")
        assert before.model_star2 == f"Refine3D/job001/run_it{last:03d}_half2_model.star"

    def test_iteration_0_holds_the_low_passed_reference(self, betagal: WholeRun) -> None:
        reference = read_map(betagal.folder / "ref.mrc")
        for half in (1, 2):
            start = read_map(self.root(betagal) / f"run_it000_half{half}_class001.mrc")
            power = np.abs(np.fft.fftn(start)) ** 2
            k = np.fft.fftfreq(BOX) * BOX
            r = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2)
            shell = BOX * PIXEL / 40.0
            assert power[r > shell + 1].sum() < 1e-9 * power.sum()
            assert map_fsc(start, reference)[1 : int(shell)].min() > 0.99
            model = read_model(self.root(betagal) / f"run_it000_half{half}_model.star")
            assert (model.current_size, model.ave_pmax) == (0, 0.0)

    def test_particles(self, betagal: WholeRun) -> None:
        start = read_particles(betagal.folder / "particles.star")
        final = read_particles(self.root(betagal) / "run_data.star")
        assert final.image_name == start.image_name
        first = list(start.raw["particles"].columns)
        assert list(final.raw["particles"].columns)[: len(first)] == first
        assert sorted(set(final.random_subset.tolist())) == [1, 2]
        assert (final.class_number == 0).all()
        assert (final.pmax > 0).all()
        assert (final.n_significant > 0).all()
        assert ((final.tilt_deg >= 0) & (final.tilt_deg <= 180)).all()

    def test_log(self, betagal: WholeRun) -> None:
        assert re.search(r"^expectation, optics group 1: \d+ x \d+ particles, ", betagal.log, re.M)
        tables = betagal.log.count("step                       seconds   share    calls")
        assert tables == betagal.log.count("Expectation iteration ")
        for row in TIME_TABLE_ROWS:
            assert len(re.findall(rf"^{row} +\d", betagal.log, re.M)) == tables
        assert "Map: Refine3D/job001/run_class001.mrc" in betagal.log
        assert "Half map: Refine3D/job001/run_half2_class001_unfil.mrc" in betagal.log
        assert "Report: Refine3D/job001/run_report.html" in betagal.log

    def test_pipeline_files(self, betagal: WholeRun) -> None:
        root = self.root(betagal)
        assert [p.name for p in root.glob("RELION_JOB_*")] == ["RELION_JOB_EXIT_SUCCESS"]
        nodes = read_star(root / "RELION_OUTPUT_NODES.star")["output_nodes"]
        labels = dict(
            zip(
                nodes.strings("rlnPipeLineNodeName"),
                nodes.strings("rlnPipeLineNodeTypeLabel"),
                strict=True,
            )
        )
        name = "Refine3D/job001/run"
        assert labels == {
            f"{name}_class001.mrc": "DensityMap.mrc.relion.refine3d",
            f"{name}_half1_class001_unfil.mrc": "DensityMap.mrc.relion.halfmap.refine3d",
            f"{name}_half2_class001_unfil.mrc": "DensityMap.mrc.relion.halfmap.refine3d",
            f"{name}_data.star": "ParticleGroupMetadata.star.relion.refine3d",
            f"{name}_optimiser.star": "OptimiserData.star.relion.refine3d",
        }
        assert all((betagal.folder / node).is_file() for node in labels)

    def test_half_maps_are_neither_filtered_nor_masked(self, betagal: WholeRun) -> None:
        first, second = (
            read_map(self.root(betagal) / f"run_half{h}_class001_unfil.mrc") for h in (1, 2)
        )
        model = read_model(self.root(betagal) / "run_model.star")
        fsc = map_fsc(first, second)
        resolved = fsc[1 : int(BOX * PIXEL / model.current_resolution_angst)]
        assert resolved.min() > 0.143
        # the gold standard's FSC is that of these maps, but for the joined lowest shells
        # and the interpolation of the maps
        assert np.abs(model.fsc_halves[0][10:20] - fsc[10:20]).mean() < 0.1
        outside = raised_cosine_mask(BOX, SPHERE_PX, 5) == 0
        assert first[outside].std() > 0.1 * first[~outside].std()


class TestClassification:
    """K > 1 (specification E 3.7, M 5.10)."""

    def test_two_classes_from_one_map(self, folder: Path) -> None:
        ended = succeed(folder, changed(CLASS3D, "--K 2 --iter 4"))
        start, first = map_of(folder, "run_it000_class001"), map_of(folder, "run_it001_class001")
        np.testing.assert_array_equal(start, map_of(folder, "run_it000_class002"))
        # iteration 1 (cross-correlation) knows the first class only and copies it
        np.testing.assert_array_equal(first, map_of(folder, "run_it001_class002"))
        assert (table_of(folder, "run_it001").class_number == 0).all()
        np.testing.assert_allclose(model_of(folder, "run_it001").pdf_class, 0.5)
        # iteration 2 offers each particle one class by chance
        seeded = table_of(folder)
        assert sorted(set(seeded.class_number.tolist())) == [0, 1]
        members = np.bincount(seeded.class_number) / seeded.n
        np.testing.assert_allclose(model_of(folder).pdf_class, members, atol=1e-3)
        assert relative_difference(map_of(folder), map_of(folder, "run_it002_class002")) > 0.05
        for number in range(1, 5):
            model = model_of(folder, f"run_it{number:03d}")
            assert model.pdf_class.sum() == pytest.approx(1, abs=1e-5)
            assert model.pdf_direction is not None
            # six digits a value
            assert model.pdf_direction.sum() == pytest.approx(1, abs=1e-4)
            np.testing.assert_allclose(model.pdf_direction.sum(axis=1), model.pdf_class, atol=1e-4)
            assert model.class_files == [f"out/run_it{number:03d}_class{k:03d}.mrc" for k in (1, 2)]
        assert ended.out.count("Class sizes (%): ") == 4
        assert "Map: out/run_it004_class002.mrc" in ended.out

    def test_seeding_without_cross_correlation(self, folder: Path) -> None:
        command = CLASS3D.replace("--firstiter_cc", "")
        succeed(folder, changed(command, "--K 2 --iter 1"))
        assert sorted(set(table_of(folder, "run_it001").class_number.tolist())) == [0, 1]
        assert relative_difference(
            map_of(folder, "run_it001_class001"), map_of(folder, "run_it001_class002")
        ) > 0.05  # fmt: skip

    def test_references_in_a_list(self, folder: Path, plain: Path) -> None:
        other = plain / "out" / "run_it002_class001.mrc"
        (folder / "refs.star").write_text(
            f"data_\n\nloop_\n_rlnReferenceImage #1\nref.mrc\n{other}\n"
        )
        succeed(folder, changed(CLASS3D, "--ref refs.star --iter 1"))
        model = model_of(folder, "run_it001")
        assert model.n_classes == 2
        assert model.pdf_class.sum() == pytest.approx(1, abs=1e-5)
        assert relative_difference(
            map_of(folder, "run_it000_class001"), map_of(folder, "run_it000_class002")
        ) > 0.05  # fmt: skip


class TestOptions:
    """Options of specification E 7.1, each on a few particles; the plain run is the yardstick."""

    def run(self, folder: Path, options: str, base: str = CLASS3D) -> Ended:
        return succeed(folder, changed(base, options))

    def test_local_search(self, folder: Path, plain: Path) -> None:
        data = plain / "out" / "run_it002_data.star"
        star = data.read_text().replace("@particles.mrcs", f"@{folder}/particles.mrcs")
        (folder / "posed.star").write_text(star)
        base = CLASS3D.replace("--firstiter_cc", "")
        options = "--i posed.star --sigma_ang 5 --healpix_order 2 --iter 1 --perturb 0"
        ended = self.run(folder, options, base)
        assert "local searches= true" in ended.out
        model = model_of(folder, "run_it001")
        assert model.orientational_prior_mode == 1
        assert model.sigma_rot_deg == model.sigma_tilt_deg == model.sigma_psi_deg == 5
        # directions lie within 3 sigma of where they were, and the grid adds its own step
        before, after = table_of(plain), table_of(folder, "run_it001")
        sines = [np.sin(np.radians(t.tilt_deg)) for t in (before, after)]
        cosine = np.cos(np.radians(before.tilt_deg)) * np.cos(np.radians(after.tilt_deg))
        turn = np.radians(after.rot_deg - before.rot_deg)
        cosine += sines[0] * sines[1] * np.cos(turn)
        same = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        assert (np.minimum(same, 180 - same) <= 15 + 15 + 1).mean() > 0.7  # D2 moves some away
        assert np.median(same) < 15

    def test_skip_align(self, folder: Path, plain: Path) -> None:
        star = (plain / "out" / "run_it002_data.star").read_text()
        (folder / "posed.star").write_text(star)
        base = CLASS3D.replace("--firstiter_cc", "")
        self.run(folder, "--i posed.star --skip_align --iter 1", base)
        before, after = table_of(plain), table_of(folder, "run_it001")
        for name in ("rot_deg", "tilt_deg", "psi_deg", "origin_x_angst", "origin_y_angst"):
            np.testing.assert_allclose(getattr(after, name), getattr(before, name), atol=2e-6)
        assert not list((folder / "out").glob("*angdist.bild"))
        assert agreement_of(folder, plain, "run_it001_class001") > 0.8

    def test_skip_rotate(self, folder: Path, plain: Path) -> None:
        star = (plain / "out" / "run_it002_data.star").read_text()
        (folder / "posed.star").write_text(star)
        base = CLASS3D.replace("--firstiter_cc", "")
        self.run(folder, "--i posed.star --skip_rotate --iter 1 --offset_step 1", base)
        before, after = table_of(plain), table_of(folder, "run_it001")
        for name in ("rot_deg", "tilt_deg", "psi_deg"):
            np.testing.assert_allclose(getattr(after, name), getattr(before, name), atol=2e-6)
        assert (after.origin_x_angst != before.origin_x_angst).any()

    def test_skip_rotate_with_auto_refine_is_refused(self, folder: Path) -> None:
        from tests.reference.refine_program import run_refine

        ended = run_refine(folder, f"{REFINE3D} --skip_rotate")
        assert ended.code == 1
        assert "--skip_rotate with --auto_refine" in ended.err

    def test_no_oversampling(self, folder: Path, plain: Path) -> None:
        ended = self.run(folder, "--oversampling 0 --healpix_order 2")
        assert "Angular step= 15.000 degrees" in ended.out
        assert agreement(folder, plain) > 0.8

    def test_noise_around_the_particles(self, folder: Path, plain: Path) -> None:
        command = CLASS3D.replace("--zero_mask", "")
        succeed(folder, command)
        assert agreement(folder, plain) > 0.8
        assert relative_difference(map_of(folder), map_of(plain)) > 1e-3
        assert not read_optimiser(folder / "out/run_it002_optimiser.star").do_zero_mask

    def test_solvent_masks(self, folder: Path, plain: Path) -> None:
        mask = raised_cosine_mask(BOX, 20, 4)
        second = raised_cosine_mask(BOX, 6, 2)
        for name, values in (("mask.mrc", mask), ("inner.mrc", second)):
            write_stack(folder / name, values)
        self.run(folder, "--solvent_mask mask.mrc --solvent_mask2 inner.mrc")
        volume = map_of(folder)
        assert (volume[mask == 0] == 0).all()
        assert (map_of(plain)[mask == 0] != 0).any()
        core = volume[second == 1]
        np.testing.assert_allclose(core, core.mean(), rtol=1e-4)

    def test_solvent_corrected_fsc(self, folder: Path) -> None:
        write_stack(folder / "mask.mrc", raised_cosine_mask(BOX, 25, 5))
        options = "--solvent_mask mask.mrc --solvent_correct_fsc --auto_iter_max 1"
        self.run(folder, options, REFINE3D)
        for half in (1, 2):
            assert np.isfinite(map_of(folder, f"run_it001_half{half}_class001_unfil")).all()
        fsc = model_of(folder, "run_it001_half1").fsc_halves[0]
        assert np.isfinite(fsc).all()
        assert fsc[1] > 0.5

    def test_fixed_tau2(self, folder: Path, plain: Path) -> None:
        tau2 = model_of(plain).tau2[0] * 0.5
        rows = "\n".join(f"{i} {value:.8e}" for i, value in enumerate(tau2))
        head = "data_\n\nloop_\n_rlnSpectralIndex #1\n_rlnReferenceTau2 #2\n"
        (folder / "tau.star").write_text(f"{head}{rows}\n")
        self.run(folder, "--tau tau.star --iter 1")
        found = model_of(folder, "run_it001").tau2[0]
        # iteration 1 filters the map and what is reported (M 4.10)
        np.testing.assert_allclose(found[1:5], tau2[1:5], atol=1e-6)

    def test_strict_highres_exp(self, folder: Path, plain: Path) -> None:
        self.run(folder, "--strict_highres_exp 60")
        optimiser = read_optimiser(folder / "out/run_it002_optimiser.star")
        assert optimiser.highres_limit_angst == 60
        # fewer frequencies tell less
        assert model_of(folder).ave_pmax < model_of(plain).ave_pmax
        assert agreement(folder, plain) > 0.5

    def test_maxsig(self, folder: Path, plain: Path) -> None:
        assert table_of(plain).n_significant.max() > 5
        self.run(folder, "--maxsig 5")
        assert read_optimiser(folder / "out/run_it002_optimiser.star").max_significant == 5
        assert table_of(folder).n_significant.max() <= 5

    def test_always_cc(self, folder: Path) -> None:
        ended = self.run(folder, "--always_cc")
        assert "Estimated accuracy" not in ended.out
        table = table_of(folder)
        assert (table.n_significant == 1).all()
        np.testing.assert_allclose(model_of(folder).sigma2_noise, 1.0)

    def test_no_map(self, folder: Path) -> None:
        self.run(folder, "--no_map")
        model = model_of(folder)
        assert model.current_resolution_angst == pytest.approx(2 * PIXEL, rel=1e-5)  # M 5.2
        assert not read_optimiser(folder / "out/run_it002_optimiser.star").do_map

    def test_center_classes(self, folder: Path, plain: Path) -> None:
        reference = np.roll(read_map(folder / "ref.mrc"), (4, 0, -3), axis=(0, 1, 2))
        write_stack(folder / "ref.mrc", reference)
        command = changed(CLASS3D.replace("--flatten_solvent", ""), "--sym C1 --iter 1")
        succeed(folder, command)
        off = map_of(folder, "run_it001_class001")
        succeed(folder, changed(command, "--o centred/run --center_classes"))
        on = read_map(folder / "centred" / "run_it001_class001.mrc")
        assert np.linalg.norm(centre_of_mass(off)) > 0.5
        assert relative_difference(on, centre_map(off, 2.0)) < 1e-3  # --offset_range 2
        assert relative_difference(on, off) > 0.05
        assert read_optimiser(folder / "centred/run_it001_optimiser.star").do_center_classes

    def test_center_classes_does_nothing_to_halves(self, folder: Path) -> None:
        command = changed(REFINE3D, "--auto_iter_max 1")
        succeed(folder, command)
        ended = succeed(folder, changed(command, "--o centred/run --center_classes"))
        assert "--center_classes has no effect with --split_random_halves" in ended.err
        name = "run_it001_half1_class001.mrc"
        difference = relative_difference(
            read_map(folder / "centred" / name), read_map(folder / "out" / name)
        )
        assert difference < 1e-4

    def test_preread_images(self, folder: Path, plain: Path) -> None:
        self.run(folder, "--preread_images")
        assert relative_difference(map_of(folder), map_of(plain)) < 1e-4

    def test_dry_run_writes_nothing(self, folder: Path) -> None:
        before = sorted(p.name for p in folder.rglob("*"))
        ended = self.run(folder, "--dry_run --auto_iter_max 5", REFINE3D)
        after = sorted(p.name for p in folder.rglob("*"))
        assert after == before
        plan = ended.out
        assert "Memory plan within" in plan
        rows = plan[plan.index("\niteration") :].splitlines()[2:]
        assert [row.split()[0] for row in rows[: len(rows)]].count("last") == 1
        last = next(row for row in rows if row.startswith("last"))
        assert last.split()[1] == str(BOX)
        assert plan.count("expectation, optics group 1: ") == 1

    def test_skip_maximize(self, folder: Path) -> None:
        succeed(folder, changed(CLASS3D.replace("--firstiter_cc", ""), "--skip_maximize"))
        names = {p.name for p in (folder / "out").iterdir()}
        assert "run_data.star" in names
        assert not [name for name in names if "it001" in name]
        assert (table_of(folder, "run").pmax > 0).all()

    def test_deterministic(self, folder: Path) -> None:
        self.run(folder, "--deterministic --iter 1")
        self.run(folder, "--deterministic --iter 1 --o again/run")
        for name in ("run_it001_class001.mrc", "run_it001_data.star", "run_it001_model.star"):
            first, second = ((folder / o / name).read_text("latin-1") for o in ("out", "again"))
            assert first == second.replace("again/", "out/")

    def test_sampling_file(self, plain: Path) -> None:
        sampling = read_sampling(plain / "out" / "run_it002_sampling.star")
        assert (sampling.healpix_order, sampling.symmetry) == (1, "D2")
        assert sampling.offset_range_angst == pytest.approx(2 * PIXEL, rel=1e-5)
        assert sampling.rot_deg is not None
        assert sampling.tilt_deg is not None
        assert len(sampling.rot_deg) == len(sampling.tilt_deg) > 0


def agreement_of(folder: Path, plain: Path, name: str) -> float:
    """As `agreement`, of another map."""
    return float(map_fsc(map_of(folder, name), map_of(plain))[1:7].mean())


class TestAbort:
    """RELION's pipeline asks a job to stop (conventions 7)."""

    def test_within_an_iteration(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from clrelion.refinement.preparation import Preparation
        from tests.reference.refine_program import run_refine

        prepare = Preparation.prepare

        def ask(self: Preparation, state: object, iteration: int, *others: object) -> object:
            if iteration == 2:
                (folder / "job" / "RELION_JOB_ABORT_NOW").touch()
            return prepare(self, state, iteration, *others)  # type: ignore[arg-type]

        monkeypatch.setattr(Preparation, "prepare", ask)
        ended = run_refine(folder, changed(CLASS3D, "--iter 4 --pipeline_control job/"))
        assert ended.code == 2
        assert ended.err.startswith("clrelion_refine: aborted: job/RELION_JOB_ABORT_NOW: ")
        assert ended.err.count("\n") == 1
        assert [p.name for p in (folder / "job").iterdir()] == ["RELION_JOB_EXIT_ABORTED"]
        names = {p.name for p in (folder / "out").iterdir()}
        assert "run_it001_optimiser.star" in names
        assert not [name for name in names if "it002" in name]
        monkeypatch.undo()
        succeed(folder, "--continue out/run_it001_optimiser.star --iter 2 --device cpu")
