"""Was this process started as one of many?  If so, join them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping

from clrelion.errors import OptionsError
from clrelion.parallel.communicator import Communicator

__all__ = ["join_ranks", "launched_rank", "launched_size"]

# What launchers tell their processes: how many they are.  SLURM_NTASKS is not among them, since a
# batch script itself has it too.
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")
_INSTALL = "pip install 'clrelion[mpi]' (docs/clusters.md)"


def launched_size(environment: Mapping[str, str] = os.environ) -> int:
    """Number of processes that the launcher (mpirun, mpiexec, srun) started; 1 without one."""
    for name in _SIZES:
        text = environment.get(name, "")
        if text.isdigit():
            return int(text)
    return 1


def launched_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Rank of this process as its launcher says, before MPI is asked."""
    if launched_size(environment) == 1:
        return 0
    texts = (environment.get(name, "") for name in _RANKS)
    return next((int(text) for text in texts if text.isdigit()), 0)


def join_ranks(environment: Mapping[str, str] = os.environ) -> Communicator:
    """Make the communicator of this process; mpi4py is needed for several ranks only.

    Raises
    ------
    OptionsError
        Several processes were started, but they cannot find each other: each would do the whole
        run and overwrite the others' files.
    """
    size = launched_size(environment)
    if size == 1:
        return Communicator()
    try:
        mpi = importlib.import_module("mpi4py.MPI")
    except Exception as error:
        # no mpi4py is an ImportError; one without an MPI library is a RuntimeError
        reason = " ".join(str(error).split())
        raise OptionsError(
            f"started as one of {size} processes, but MPI is not usable from Python ({reason}): "
            f"{_INSTALL}, or start a single process"
        ) from error
    if mpi.COMM_WORLD.size != size:
        library = mpi.Get_library_version().split(",")[0]
        raise OptionsError(
            f"the launcher started {size} processes, but mpi4py, which runs on {library}, sees "
            f"{mpi.COMM_WORLD.size}: it belongs to another MPI than the launcher; use the mpirun "
            "of that MPI, or install mpi4py for this one (docs/clusters.md)"
        )
    if mpi.Query_thread() < mpi.THREAD_SERIALIZED:
        raise OptionsError(
            "this MPI library does not let threads take turns (MPI_THREAD_SERIALIZED); use one "
            "that does, e.g. Open MPI or MPICH (docs/clusters.md)"
        )
    from clrelion.parallel.mpi import MpiCommunicator

    return MpiCommunicator(mpi)
