"""Angular distribution and RELION's pipeline files."""

from pathlib import Path

import numpy as np
import pytest

from clrelion.errors import AbortRequested
from clrelion.io.bild import write_angular_distribution
from clrelion.io.pipeline import PipelineControl, node_number
from clrelion.io.star import read_star


def write(path: Path, pdf: list[float]) -> list[list[str]]:
    write_angular_distribution(
        path,
        rot_deg=np.array([45.0, 0.0, 90.0]),
        tilt_deg=np.array([80.405932, 0.0, 90.0]),
        pdf_direction=np.array(pdf),
        ori_size=80,
        pixel_size_angst=3.415102,
        angular_step_deg=15.0,
    )
    return [line.split() for line in path.read_text().splitlines()]


def test_uniform_distribution_looks_like_relions(tmp_path: Path) -> None:
    """Compare with the first lines that RELION 3.1.3 writes for a uniform one."""
    lines = write(tmp_path / "a.bild", [0.2, 0.2, 0.2])
    assert [line[0] for line in lines] == [".color", ".cylinder"] * 3
    np.testing.assert_allclose([float(x) for x in lines[0][1:]], [1 / 6, 0, 5 / 6], atol=1e-6)
    expected = [231.847, 231.847, 159.371, 260.42, 260.42, 166.202, 8.94072]
    np.testing.assert_allclose([float(x) for x in lines[1][1:]], expected, rtol=1e-5)


def test_directions_without_particles_are_left_out(tmp_path: Path) -> None:
    assert len(write(tmp_path / "a.bild", [0.0, 0.3, 0.0])) == 2
    assert write(tmp_path / "a.bild", [0.0, 0.0, 0.0]) == []


def test_markers(tmp_path: Path) -> None:
    control = PipelineControl(tmp_path / "job")
    job = tmp_path / "job"
    control.start()
    control.check_abort()
    control.mark_failure()
    assert (job / "RELION_JOB_EXIT_FAILURE").exists()
    (job / "RELION_JOB_ABORT_NOW").touch()
    with pytest.raises(AbortRequested, match="asked to stop"):
        control.check_abort()
    control.start()
    assert not list(job.iterdir()), "markers of an earlier run are removed"
    (job / "RELION_JOB_ABORT_NOW").touch()
    control.mark_aborted()
    assert [p.name for p in job.iterdir()] == ["RELION_JOB_EXIT_ABORTED"]
    control.mark_success()
    assert (job / "RELION_JOB_EXIT_SUCCESS").exists()


def test_output_nodes(tmp_path: Path) -> None:
    control = PipelineControl(tmp_path)
    control.write_output_nodes([("run_it001_class001.mrc", "DensityMap.mrc.relion.class3d")])
    block = read_star(tmp_path / "RELION_OUTPUT_NODES.star")["output_nodes"]
    assert block.columns == {
        "rlnPipeLineNodeName": ["run_it001_class001.mrc"],
        "rlnPipeLineNodeTypeLabel": ["DensityMap.mrc.relion.class3d"],
        "rlnPipeLineNodeType": ["6"],
    }


def test_numbers_of_nodes() -> None:
    """The numbers that RELION 3.1.3's pipeliner writes for the outputs of its own jobs."""
    assert {
        label: node_number(label)
        for label in (
            "DensityMap.mrc.relion.refine3d",
            "DensityMap.mrc.relion.halfmap.refine3d",
            "ParticleGroupMetadata.star.relion.class3d",
            "DensityMap.mrc.relion.postprocess",
            "DensityMap.mrc.relion.postprocess.masked",
            "ProcessData.star.relion.postprocess",
        )
    } == {
        "DensityMap.mrc.relion.refine3d": 6,
        "DensityMap.mrc.relion.halfmap.refine3d": 10,
        "ParticleGroupMetadata.star.relion.class3d": 3,
        "DensityMap.mrc.relion.postprocess": 11,
        "DensityMap.mrc.relion.postprocess.masked": 11,
        "ProcessData.star.relion.postprocess": 14,
    }


def test_without_a_pipeline_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    control = PipelineControl(None)
    control.start()
    control.check_abort()
    control.mark_success()
    control.write_output_nodes([("a", "b")])
    assert not list(tmp_path.iterdir())
