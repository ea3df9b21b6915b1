"""Which entry of ``--device`` a rank takes, and how many host threads."""

from __future__ import annotations

import os

from clrelion.fourier.transforms import available_cores
from clrelion.parallel.communicator import Communicator

__all__ = ["available_cores", "device_of_rank", "local_index", "share_cores"]

_POCL_THREADS = ("POCL_MAX_PTHREAD_COUNT", "POCL_CPU_MAX_CU_COUNT")
"""Before PoCL 5, and since."""


def device_of_rank(spec: str, comm: Communicator) -> str:
    """Entry of ``--device`` for this rank.

    Parameters
    ----------
    spec
        ``--device``: one entry for all ranks, one for each rank of the job, or one for each rank of
        a node; fewer are dealt out again from the first.
    """
    entries = [entry.strip() for entry in spec.split(",") if entry.strip()] or ["auto"]
    if len(entries) == comm.size:
        return entries[comm.rank]
    return entries[comm.local_rank % len(entries)]


def local_index(spec: str, comm: Communicator) -> int:
    """Count the earlier ranks of this node that take the same entry of ``--device``."""
    entries = comm.allgather((comm.nodes[comm.rank], device_of_rank(spec, comm)))
    own = entries[comm.rank]
    return sum(entry == own for entry in entries[: comm.rank])


def share_cores(spec: str, comm: Communicator) -> None:
    """Divide the cores of a node among its ranks that may compute on them.

    PoCL reads the number of its threads when it starts, so this comes before OpenCL is asked.
    A number that the user has set stays.
    """
    own = device_of_rank(spec, comm)
    found = comm.allgather((comm.nodes[comm.rank], own))
    entries = [entry for node, entry in found if node == comm.nodes[comm.rank]]
    n_gpus = sum(entry.startswith("gpu") for entry in entries)
    if len(entries) == 1 or own.startswith("gpu"):
        return
    # a rank with a GPU needs a core to feed it
    cores = max(1, (available_cores() - n_gpus) // (len(entries) - n_gpus))
    for name in _POCL_THREADS:
        os.environ.setdefault(name, str(cores))
