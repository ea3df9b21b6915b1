"""Which device and how many cores a rank takes; what launchers tell."""

from __future__ import annotations

import importlib
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from clrelion.errors import OptionsError
from clrelion.parallel import placement
from clrelion.parallel.communicator import Communicator
from clrelion.parallel.launch import join_ranks, launched_rank, launched_size


class Ranks(Communicator):
    """Rank r of two nodes with three ranks each."""

    def __init__(self, rank: int, spec: str = "auto") -> None:
        super().__init__()
        self.rank, self.size = rank, 6
        self.local_rank, self.local_size = rank % 3, 3
        self.hosts = ["a", "a", "a", "b", "b", "b"]
        self.nodes = [0, 0, 0, 3, 3, 3]
        self.spec = spec

    def allgather(self, value: Any) -> list[Any]:
        """What all ranks would say."""
        return [
            (self.nodes[r], placement.device_of_rank(self.spec, Ranks(r))) for r in range(6)
        ]


@pytest.mark.parametrize(
    ("spec", "devices", "index"),
    [
        ("auto", ["auto"] * 6, [0, 1, 2, 0, 1, 2]),
        ("gpu:0,gpu:1,cpu", ["gpu:0", "gpu:1", "cpu"] * 2, [0] * 6),
        ("gpu:0,cpu", ["gpu:0", "cpu", "gpu:0"] * 2, [0, 0, 1, 0, 0, 1]),
        ("gpu:0,gpu:1,gpu:2,gpu:0,gpu:1,cpu", ["gpu:0", "gpu:1", "gpu:2", "gpu:0", "gpu:1", "cpu"],
         [0] * 6),
    ],
)  # fmt: skip
def test_entries_by_rank(spec: str, devices: list[str], index: list[int]) -> None:
    assert [placement.device_of_rank(spec, Ranks(r)) for r in range(6)] == devices
    assert [placement.local_index(spec, Ranks(r, spec)) for r in range(6)] == index


@pytest.mark.parametrize(
    ("spec", "rank", "cores"),
    [
        ("cpu", 1, "5"),  # 16 cores, three ranks
        ("gpu:0,gpu:1,cpu", 2, "14"),
        ("gpu:0,gpu:1,cpu", 0, None),
    ],
)
def test_cores_of_cpus(
    spec: str, rank: int, cores: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "available_cores", lambda: 16)
    for name in ("POCL_MAX_PTHREAD_COUNT", "POCL_CPU_MAX_CU_COUNT"):
        monkeypatch.setenv(name, "0")
        monkeypatch.delenv(name)
    placement.share_cores(spec, Ranks(rank, spec))
    assert os.environ.get("POCL_MAX_PTHREAD_COUNT") == cores
    assert os.environ.get("POCL_CPU_MAX_CU_COUNT") == cores
    monkeypatch.setenv("POCL_MAX_PTHREAD_COUNT", "3")
    placement.share_cores(spec, Ranks(rank, spec))
    assert os.environ["POCL_MAX_PTHREAD_COUNT"] == "3"


@pytest.mark.parametrize(
    ("environment", "size", "rank"),
    [
        ({}, 1, 0),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2"}, 4, 2),
        ({"PMI_SIZE": "3", "PMI_RANK": "1"}, 3, 1),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "7"}, 8, 7),
        # a batch script itself
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, 1, 0),
    ],
)
def test_launchers(environment: dict[str, str], size: int, rank: int) -> None:
    assert launched_size(environment) == size
    assert launched_rank(environment) == rank


def test_a_single_process_needs_no_mpi(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_import(name: str) -> None:
        raise AssertionError(name)

    monkeypatch.setattr(importlib, "import_module", no_import)
    assert join_ranks({}).size == 1


def test_many_processes_that_cannot_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each would do the whole run, and overwrite the files of the others."""
    four = {"PMI_SIZE": "4"}
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    with pytest.raises(OptionsError, match=r"one of 4 processes, but MPI .*pip install"):
        join_ranks(four)
    world = SimpleNamespace(size=1)
    stranger: Any = SimpleNamespace(COMM_WORLD=world, Get_library_version=lambda: "MPICH 4, x")
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", stranger)
    with pytest.raises(OptionsError, match=r"started 4 processes, but mpi4py, .* MPICH 4"):
        join_ranks(four)
    world.size, stranger.THREAD_SERIALIZED, stranger.Query_thread = 4, 2, lambda: 1
    with pytest.raises(OptionsError, match="MPI_THREAD_SERIALIZED"):
        join_ranks(four)
