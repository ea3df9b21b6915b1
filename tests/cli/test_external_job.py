"""Runs as RELION's *External* job: as its pipeliner calls it, and by its pipeliner."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from clrelion.cli import refine as program
from clrelion.cli.external_job import REFINE_INPUTS, own_arguments
from clrelion.cli.postprocess import postprocess
from clrelion.cli.progress import Progress
from clrelion.errors import OptionsError
from clrelion.fourier.masks import raised_cosine_mask
from clrelion.io.star import read_star
from tests.reference.refine_program import BOX, PIXEL, ROOT, write_small_set, write_stack

JOB = "External/job007/"
# Fields of the job's window, in the order in which the pipeliner of RELION 3.1.3 passes them.
INPUTS = f"--o {JOB} --in_parts particles.star --in_3dref ref.mrc --in_mask mask.mrc"
QUICK = "--sym D2 --particle_diameter 200 --healpix_order 1 --offset_range 2 --device cpu"
CONTROL = f"--pipeline_control {JOB}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with particles, map and mask; reports take seconds."""
    write_small_set(tmp_path)
    write_stack(tmp_path / "mask.mrc", raised_cosine_mask(BOX, 100 / PIXEL, 6))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("clrelion.report.live.write_report", lambda run, with_files: None)
    return tmp_path


def markers() -> list[str]:
    return sorted(path.name for path in Path(JOB).glob("RELION_JOB_*"))


def nodes(folder: str = JOB) -> dict[str, str]:
    columns = read_star(f"{folder}RELION_OUTPUT_NODES.star")["output_nodes"].columns
    return dict(
        zip(columns["rlnPipeLineNodeName"], columns["rlnPipeLineNodeTypeLabel"], strict=True)
    )


def test_refinement_and_post_processing(project: Path) -> None:
    arguments = f"{INPUTS} --auto_iter_max 2 --j 1 {QUICK} --random_seed 3 {CONTROL}"
    assert program.refine3d(arguments.split(), "clrelion_refine3d") == 0
    assert markers() == ["RELION_JOB_EXIT_SUCCESS"]
    assert all(Path(name).is_file() for name in nodes())
    assert f"{JOB}run_it002_data.star" in nodes()
    # the next job starts from what this one left
    command = f"--continue {JOB}run_it002_optimiser.star --force_converge --o {JOB} {CONTROL}"
    assert program.refine3d(f"{command} --device cpu".split(), "clrelion_refine3d") == 0
    assert nodes() == {
        f"{JOB}run_class001.mrc": "DensityMap.mrc.relion.refine3d",
        f"{JOB}run_half1_class001_unfil.mrc": "DensityMap.mrc.relion.halfmap.refine3d",
        f"{JOB}run_half2_class001_unfil.mrc": "DensityMap.mrc.relion.halfmap.refine3d",
        f"{JOB}run_data.star": "ParticleGroupMetadata.star.relion.refine3d",
        f"{JOB}run_optimiser.star": "OptimiserData.star.relion.refine3d",
    }
    post = "External/job008/"
    command = f"--o {post} --in_mask mask.mrc --i {JOB}run_half1_class001_unfil.mrc --j 1"
    assert postprocess(f"{command} --pipeline_control {post}".split(), "clrelion_postprocess") == 0
    assert set(nodes(post)) == {
        f"{post}postprocess.mrc", f"{post}postprocess_masked.mrc", f"{post}postprocess.star"
    }  # fmt: skip
    assert Path(f"{post}RELION_JOB_EXIT_SUCCESS").exists()


def test_failure(project: Path) -> None:
    Path("particles.mrcs").unlink()
    arguments = f"{INPUTS} --j 1 {QUICK} {CONTROL}"
    assert program.refine3d(arguments.split(), "clrelion_refine3d") == 1
    assert markers() == ["RELION_JOB_EXIT_FAILURE"]


def test_abort(project: Path) -> None:
    """The GUI's *Abort running* leaves a file; the job stops at the next batch."""

    class AskToAbort(Progress):
        def update(self, n: int) -> None:
            Path(f"{JOB}RELION_JOB_ABORT_NOW").touch()
            super().update(n)

    arguments = f"{INPUTS} --iter 5 --j 1 {QUICK} {CONTROL}"
    with mock.patch.object(program, "Progress", AskToAbort):
        assert program.class3d(arguments.split(), "clrelion_class3d") == 2
    assert markers() == ["RELION_JOB_EXIT_ABORTED"]
    assert not list(Path(JOB).glob("run_it001*"))


def test_arguments() -> None:
    given = "--o External/job001/ --in_parts a.star --in_3dref b.mrc --in_mask=c.mrc --K 2"
    expected = "--o External/job001/run --i a.star --ref b.mrc --solvent_mask=c.mrc --K 2"
    assert own_arguments(given.split(), REFINE_INPUTS, "run") == expected.split()
    unchanged = ["--o", "Refine3D/job001/run", "--i", "movies/"]
    assert own_arguments(unchanged, REFINE_INPUTS, "run") == unchanged
    with pytest.raises(OptionsError, match="--in_coords: this job has no use for it"):
        own_arguments(["--in_coords", "x.star"], REFINE_INPUTS, "run")


def test_by_relions_pipeliner(project: Path) -> None:
    """RELION 3.1.3's own pipeliner schedules and runs the job and takes its output nodes."""
    pipeliner = shutil.which("relion_pipeliner")
    if pipeliner is None:
        pytest.skip("relion_pipeliner is not installed")
    script = Path("clrelion_class3d")
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m clrelion class3d "$@"\n')
    script.chmod(0o755)
    Path("default_pipeline.star").write_text(
        "\n# version 30001\n\ndata_pipeline_general\n\n_rlnPipeLineJobCounter 1\n \n"
    )
    Path("job.star").write_text(
        "\n# version 30001\n\ndata_job\n\n_rlnJobType 99\n_rlnJobIsContinue 0\n\n"
        "data_joboptions_values\n\nloop_\n_rlnJobOptionVariable #1\n_rlnJobOptionValue #2\n"
        "fn_exe ./clrelion_class3d\nin_part particles.star\nin_3dref ref.mrc\nin_mask mask.mrc\n"
        "param1_label K\nparam1_value 2\nparam2_label iter\nparam2_value 1\n"
        f'nr_threads 1\ndo_queue No\nother_args "{QUICK} --no_norm"\n\n'
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for words in (
        ["--addJobFromStar", "job.star"],
        ["--RunJobs", "External/job001/", "--schedule", "test", "--sec_wait_after", "1"],
    ):
        done = subprocess.run(
            [pipeliner, *words], env=environment, capture_output=True, text=True, timeout=100,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    log = Path("External/job001/run.err").read_text() + done.stderr
    assert Path("External/job001/RELION_JOB_EXIT_SUCCESS").exists(), log
    pipeline = read_star("default_pipeline.star")
    processes = pipeline["pipeline_processes"].columns
    finished = 2
    assert processes["rlnPipeLineProcessStatus"] == [str(finished)]
    found = pipeline["pipeline_nodes"].columns
    types = dict(
        zip(found["rlnPipeLineNodeName"], map(int, found["rlnPipeLineNodeType"]), strict=True)
    )
    assert types["External/job001/run_it001_class002.mrc"] == 6
    assert types["External/job001/run_it001_data.star"] == 3
