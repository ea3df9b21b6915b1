"""``make bench``: the work counted, the books kept iteration by iteration, the tables, one run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clrelion.bench.ceilings import Ceilings, measure_ceilings
from clrelion.bench.ledger import IterationRecord, KernelSum, Launch, LedgerSession
from clrelion.bench.page import iteration_table, kernel_table, sum_kernels
from clrelion.bench.timeline import busy_seconds, busy_share, timeline
from clrelion.bench.work import work_of
from clrelion.bench.workloads import _SIMULATED, WORKLOADS, Workload, find_data
from clrelion.cli.bench import bench
from clrelion.cli.parser import parse_refine
from clrelion.cli.simulate import simulate
from clrelion.device.session import DeviceSession
from clrelion.device.templates import parse_signature, render
from clrelion.io.particle_table import read_particles
from tests.kernels.template_parameters import BUILDS
from tools.bench_parity_sets import add_sets

add_sets()
CEILINGS = Ceilings(100.0, 20.0, None, 10.0, 5.0, 5.0)


def test_work_of_a_matrix_product() -> None:
    """1000 rows x 256 columns, 64 deep: two operations for each product."""
    arguments = {
        "images": np.zeros((1000, 64), np.float32), "projections": np.zeros((2, 64, 128), "f4"),
        "out": np.zeros((1000, 4096), np.float32), "n_rows": 1000, "depth": 64,
    }  # fmt: skip
    flops, n_bytes = work_of("diff2_coarse_vector", arguments)
    assert flops == 2 * 1000 * 256 * 64
    assert n_bytes == 4 * (1000 * 64 + 256 * 64 + 1000 * 256)


def test_work_of_other_kernels() -> None:
    arrays = {"a": np.zeros(10, np.float32), "b": np.zeros(5), "n": 3}
    assert work_of("scale_transforms", arrays) == (0.0, 80.0)
    # a renamed argument must not stop a benchmark
    assert work_of("diff2_fine", arrays) == (0.0, 80.0)


@pytest.mark.parametrize("kernel", ["diff2_coarse", "diff2_fine", "project_grid", "project_rows",
                                    "weighted_sums", "weighted_sums_workers",
                                    "backproject_orientations"])  # fmt: skip
def test_counted_kernels_exist_with_their_arguments(kernel: str, session: DeviceSession) -> None:
    """The formulae name arguments: a kernel that renames one loses its rates in silence."""
    name = f"expectation/{kernel}"
    parameters = {**session.template_params, **BUILDS.get(name, [{}])[0]}
    names = [p.name for p in parse_signature(render(name, parameters), kernel)]
    values: dict[str, Any] = {n: np.zeros((4, 2, 8), np.float32) for n in names}
    values |= {n: 8 for n in names if n.startswith("n_") or n == "depth"}
    assert work_of(kernel, values)[0] > 0


def test_busy_device() -> None:
    """Overlapping launches count once; what is not the expectation step does not count."""
    launches = [
        Launch("getDiff", "a", 1.0, 2.0), Launch("getDiff", "b", 1.5, 3.0),
        Launch("store", "c", 5.0, 5.5), Launch("store", "d", 5.1, 5.2),
        Launch("maximization", "e", 6.0, 9.0),
    ]  # fmt: skip
    assert busy_seconds(launches) == pytest.approx(5.5)
    rows = {"getDiff": 2.5, "store": 2.5, "maximization": 3.0, "others": 1.0}
    record = IterationRecord(rows=rows, timeline=launches)
    assert busy_share(record) == pytest.approx(2.5 / 5.0)
    assert "timeline" not in record.as_dict()
    picture = timeline(record, "a < b")
    assert "a &lt; b" in picture
    assert "busy 50 %" in picture
    assert picture.count("<title>") == len(launches)
    with pytest.raises(ValueError, match="profiling"):
        timeline(IterationRecord(), "nothing")


def test_ledger(session: DeviceSession) -> None:
    ledger_session = LedgerSession(session.info)
    kernel = ledger_session.kernel("expectation/scale_transforms")
    assert kernel is ledger_session.kernel("expectation/scale_transforms")
    assert kernel.max_work_group_size() >= 1
    with ledger_session.profile.timer("getImg"):
        array = ledger_session.to_device(np.zeros(1000, np.float32))
    ledger_session.ledger.add_launch("store_it", None, 5.0, 7.0)
    ledger_session.profile.reset()
    ledger_session.to_host(array)
    ledger_session.ledger.close()
    start, first = ledger_session.ledger.records
    assert start.rows["getImg"] > 0
    assert start.seconds == pytest.approx(sum(start.rows.values()))
    assert start.kernels["store_it"] == KernelSum(0.0, 1, 5.0, 7.0)
    assert (start.launches, start.transfers, start.to_device_bytes) == (1, 1, 4000)
    assert (first.launches, first.transfers, first.to_host_bytes) == (0, 1, 4000)
    assert list(first.rows) == ["others"]


def test_tables() -> None:
    records = [
        IterationRecord(1.0, {"others": 1.0}),
        IterationRecord(9.0, {"getDiff": 8.0, "others": 1.0}, launches=3),
        IterationRecord(4.0, {"getDiff": 2.0, "maximization": 1.5, "others": 0.5}),
        IterationRecord(6.0, {"getDiff": 4.0, "maximization": 1.5, "others": 0.5}),
    ]
    lines = iteration_table(records).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[-1].split("|")[1:-1]][:4] == [
        "mean of 2..", "0.000", "3.000", "0.000",
    ]  # fmt: skip
    assert records[2].expectation_seconds == 2.0
    records[1].kernels = {"a": KernelSum(0.5, 2, 1e10, 1e9), "b": KernelSum(1.0, 1, 0, 1e9)}
    records[2].kernels = {"a": KernelSum(1.5, 2, 1e10, 1e9)}
    kernels = sum_kernels(records)
    assert list(kernels) == ["a", "b"]
    row = [c.strip() for c in kernel_table(kernels, CEILINGS).splitlines()[2].split("|")[1:-1]]
    assert row == ["a", "2.0000", "4", "500000", "10.0", "10.0", "1.0", "5.0"]


def test_ceilings_are_plausible(session: DeviceSession) -> None:
    """Not a mark: only that each figure is one."""
    found = measure_ceilings(session)
    assert 1 < found.fma_gflops < 1e6
    assert 0.5 < found.copy_gbs < 2e4
    assert 0.5 < found.launch_us < 5000
    assert "GFLOP/s" in found.text()


@pytest.mark.parametrize("name", WORKLOADS)
def test_commands_are_understood(name: str) -> None:
    work = WORKLOADS[name].limited(4)
    options = parse_refine(work.command(Path("/data"), Path("/out"), "gpu")).options
    assert options.max_iterations == 4
    assert options.device == "gpu"
    assert options.particles_star == f"/data/{work.particle_file}"
    assert options.output_root == "/out/run"


def test_real_particles_are_found(tmp_path: Path) -> None:
    place = find_data(WORKLOADS["betagal80"], tmp_path, 1, simulate)
    assert place is not None
    assert (place / "particles.star").is_file()
    other = Workload("nowhere", "nowhere", "", None)
    assert find_data(other, tmp_path, 1, simulate) is None


def test_particles_named_several_times(tmp_path: Path) -> None:
    """Each time in the same half-set."""
    assert simulate(
        ["--molecule", "seed:1,kda:30", "--n", "5", "--box", "32", "--angpix", "6", "--o",
         str(tmp_path / "c4-64"), "--j", "1"]
    ) == 0  # fmt: skip
    (tmp_path / "c4-64" / "recipe.txt").write_text(_SIMULATED["c4-64"], encoding="utf-8")
    work = replace(WORKLOADS["refine-64"], times=3)
    place = find_data(work, tmp_path, 1, simulate)
    assert place is not None
    table = read_particles(place / work.particle_file)
    once = read_particles(place / "particles.star")
    assert table.n == 3 * once.n
    assert list(table.image_name) == 3 * list(once.image_name)
    np.testing.assert_array_equal(table.random_subset, np.tile([1, 2, 1, 2, 1], 3))


def test_whole_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], session: DeviceSession
) -> None:
    arguments = f"--workloads betagal80 --iterations 1 --out {tmp_path} --data {tmp_path}"
    arguments += " --timeline 1"
    device = f"{session.info.platform_index}:{session.info.device_index}"
    assert bench([*arguments.split(), "--device", device]) == 0
    assert "| diff2_" in capsys.readouterr().out
    results = json.loads((tmp_path / "bench.json").read_text())
    found = results["workloads"]["betagal80"]
    assert found["summary"]["iterations"] == 1
    assert found["summary"]["device_bytes"] > 1e6
    start, first = found["iterations"]
    assert first["rows"]["getDiff"] > 0
    assert first["seconds"] == pytest.approx(sum(first["rows"].values()))
    kernels = first["kernels"]
    assert sum(k["launches"] for k in kernels.values()) == first["launches"]
    coarse = next(k for name, k in kernels.items() if name.startswith("diff2_coarse"))
    assert 0 < coarse["seconds"] < first["seconds"]
    assert coarse["flops"] > 1e8
    assert start["rows"]["others"] >= 0
    picture = (tmp_path / "timeline-betagal80.svg").read_text()
    assert picture.count("<title>") == first["launches"]
