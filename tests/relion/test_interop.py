"""RELION's own programs (Debian's 3.1.3) on what clrelion writes.

RELION 3.1.3's ``relion_refine --continue`` takes our optimiser, sampling and data files as they
are (unknown labels of later versions are ignored with a warning) but not the noise spectra of the
model file: since 4.0, and here, these are in ``model_optics_group_<g>``, one an optics group, while
3.1.3 looks for ``model_group_<n>``, one a scale group.  It then ends with "zero sum of weights".
RELION 5's own files meet the same fate.  So that test copies the spectra under the old name.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from clrelion.cli.main import main
from clrelion.fourier.masks import raised_cosine_mask
from clrelion.io.particle_table import read_particles
from clrelion.io.run_files import read_model
from clrelion.io.star import read_star
from clrelion.orientations.euler import angular_distance_deg, euler_matrix
from clrelion.orientations.symmetry import PointGroup
from tests.reference.refine_program import (
    BOX,
    CLASS3D,
    PIXEL,
    REFINE3D,
    changed,
    map_fsc,
    read_map,
    succeed,
    write_small_set,
    write_stack,
)
from tests.reference.relion_programs import run_relion

N = 60


@pytest.fixture(scope="module")
def refined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a short auto-refine, forced to its end."""
    if shutil.which("relion_postprocess") is None:
        pytest.skip("relion_postprocess is not installed")
    folder = tmp_path_factory.mktemp("refined")
    write_small_set(folder, N)
    succeed(folder, changed(REFINE3D, "--auto_iter_max 3 --healpix_order 2 --o half/run"))
    command = "--continue half/run_it003_optimiser.star --force_converge --o out/run --device cpu"
    succeed(folder, command)
    return folder


def output_of(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


class TestAfterARefinement:
    """Post-processing and the particle tools take the final files."""

    @pytest.mark.parametrize("first", [1, 2])
    def test_postprocess(self, refined: Path, first: int) -> None:
        """Either half map names the other one (RELION replaces half1 by half2)."""
        write_stack(refined / "mask.mrc", raised_cosine_mask(BOX, 100 / PIXEL, 6))
        (refined / f"post{first}").mkdir()
        arguments = f"--i out/run_half{first}_class001_unfil.mrc --mask mask.mrc --o post{first}/p"
        # its last step, joining its plots, wants Ghostscript; everything is written by then
        path = shutil.which("relion_postprocess")
        assert path is not None
        subprocess.run([path, *arguments.split()], cwd=refined, capture_output=True, check=False)
        blocks = read_star(refined / f"post{first}" / "p.star")
        final = blocks["general"].floats("rlnFinalResolution")[0]
        ours = read_model(refined / "out/run_model.star").current_resolution_angst
        assert final <= 1.3 * ours
        fsc = blocks["fsc"].floats("rlnFourierShellCorrelationUnmaskedMaps")
        halves = [read_map(refined / f"out/run_half{h}_class001_unfil.mrc") for h in (1, 2)]
        # (it weighs the central plane of the half transform differently)
        np.testing.assert_allclose(fsc[1:35], map_fsc(*halves)[1:35], atol=0.05)
        assert np.isfinite(read_map(refined / f"post{first}" / "p_masked.mrc")).all()

    def test_ctf_refinement(self, refined: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It takes ``run_data.star`` and our post-processing; we take what it writes."""
        monkeypatch.chdir(refined)
        write_stack(refined / "mask.mrc", raised_cosine_mask(BOX, 100 / PIXEL, 6))
        command = "postprocess --i out/run_half1_class001_unfil.mrc --mask mask.mrc --o own/post"
        assert main(command.split()) == 0
        (refined / "ctf").mkdir()
        run_relion(
            "relion_ctf_refine",
            "--i out/run_data.star --f own/post.star --o ctf/ --fit_defocus --fit_mode fpfff "
            "--kmin_defocus 60",
            refined,
        )
        before = read_particles(refined / "out/run_data.star", do_ctf=True)
        after = read_particles(refined / "ctf/particles_ctf_refine.star", do_ctf=True)
        assert after.image_name == before.image_name
        assert (np.abs(after.defocus_u_angst - before.defocus_u_angst) > 1).any()
        arguments = "--i ctf/particles_ctf_refine.star --skip_align --iter 1 --o again/run"
        succeed(refined, changed(CLASS3D, arguments))

    def test_columns_that_polishing_reads(self, refined: Path) -> None:
        """Bayesian polishing finds particles in their micrographs, by half-set."""
        particles = read_star(refined / "out/run_data.star")["particles"]
        wanted = (
            "rlnMicrographName", "rlnCoordinateX", "rlnCoordinateY", "rlnOpticsGroup",
            "rlnRandomSubset", "rlnOriginXAngst", "rlnOriginYAngst", "rlnAngleRot", "rlnDefocusU",
        )  # fmt: skip
        assert all(label in particles for label in wanted)

    def test_star_handler(self, refined: Path) -> None:
        table = read_particles(refined / "out/run_data.star")
        least = float(np.median(table.pmax))
        label = "rlnMaxValueProbDistribution"
        arguments = f"--i out/run_data.star --o chosen.star --select {label} --minval {least}"
        run_relion("relion_star_handler", arguments, refined)
        chosen = read_particles(refined / "chosen.star")
        wanted = [name for name, p in zip(table.image_name, table.pmax, strict=True) if p >= least]
        assert chosen.image_name == wanted
        assert chosen.optics[0].pixel_size_angst == pytest.approx(PIXEL, abs=1e-6)

    @pytest.mark.parametrize("subset", [0, 1])
    def test_reconstruct(self, refined: Path, subset: int) -> None:
        """RELION's reconstruction from our poses is our map; the same for each half."""
        option = f"--subset {subset}" if subset else ""
        arguments = f"--i out/run_data.star --o again{subset}.mrc --ctf --sym D2 {option}"
        run_relion("relion_reconstruct", f"{arguments} --angpix {PIXEL}", refined)
        name = f"half{subset}_class001_unfil" if subset else "class001"
        theirs = read_map(refined / f"again{subset}.mrc")
        fsc = map_fsc(theirs, read_map(refined / f"out/run_{name}.mrc"))
        # clrelion spreads each particle over its likely poses, the program takes the best one
        resolved = int(BOX * PIXEL / 35.0)
        assert fsc[1 : resolved + 1].min() > 0.9

    @pytest.mark.parametrize("name", ["run_class001.mrc", "run_half1_class001_unfil.mrc"])
    def test_image_handler(self, refined: Path, name: str) -> None:
        volume = read_map(refined / "out" / name)
        text = output_of(refined, "relion_image_handler", "--i", f"out/{name}", "--stats")
        assert "(x,y,z,n)= 80 x 80 x 80 x 1" in text
        found = {key: float(value) for key, value in re.findall(r"(\w+) ?= (-?[\d.e-]+)", text)}
        assert found["angpix"] == pytest.approx(PIXEL, abs=1e-4)
        for key, value in (
            ("avg", volume.mean()), ("stddev", volume.std()),
            ("minval", volume.min()), ("maxval", volume.max()),
        ):  # fmt: skip
            assert found[key] == pytest.approx(value, rel=1e-4, abs=1e-6)


def test_relion_goes_on_from_our_files(tmp_path: Path) -> None:
    """RELION's third iteration from our second is much like ours (see the top of this file).

    Not more than that: 3.1.3 finds smaller Pmax and other shifts for some particles.  How RELION
    5.0.1 computes an iteration from given files is what the runs in shared/data/steps show.
    """
    write_small_set(tmp_path)
    succeed(tmp_path, changed(CLASS3D, "--perturb 0"))
    model = tmp_path / "out/run_it002_model.star"
    text = model.read_text()
    spectrum = re.search(r"data_model_optics_group_1\n.*?(?=\n# version|\ndata_|\Z)", text, re.S)
    assert spectrum is not None
    old = "".join(
        spectrum[0].replace("model_optics_group_1", f"model_group_{g}") + "\n\n" for g in (1, 2)
    )
    model.write_text(f"{text}\n{old}")
    (tmp_path / "relion").mkdir()
    command = "--continue out/run_it002_optimiser.star --iter 3"
    run_relion("relion_refine", f"{command} --o relion/run --j 2 --pad 2", tmp_path)
    succeed(tmp_path, f"{command} --o ours/run --device cpu")
    tables = [read_particles(tmp_path / f"{o}/run_it003_data.star") for o in ("relion", "ours")]
    theirs, ours = tables
    assert theirs.image_name == ours.image_name
    matrices = [euler_matrix(t.rot_deg, t.tilt_deg, t.psi_deg) for t in tables]
    operators = PointGroup.from_name("D2").operators
    distance = angular_distance_deg(matrices[0], matrices[1], operators)
    assert (distance < 1e-3).mean() > 0.9, distance
    volumes = [read_map(tmp_path / f"{o}/run_it003_class001.mrc") for o in ("relion", "ours")]
    assert map_fsc(*volumes)[1:8].min() > 0.985
