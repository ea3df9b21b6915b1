"""Memory that the ranks of a node have in common: files without a name in /dev/shm.

Pages are reserved when they are asked for, so that a node whose /dev/shm is too small says so at
once; MPI's own windows end in a bus error there in some libraries.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.parallel.communicator import Communicator

__all__ = ["NodeMemory", "allocate_on_nodes", "node_memory"]

_FOLDER = Path("/dev/shm")


@dataclass(frozen=True)
class NodeMemory:
    """Memory of a node, or of a rank alone.

    Attributes
    ----------
    buffer
        The memory.
    n_bytes
        Its size.
    is_common
        All ranks of the node see the same.
    """

    buffer: mmap.mmap | NDArray[np.uint8]
    n_bytes: int
    is_common: bool

    def array(self, dtype: np.dtype[Any], n: int, start: int) -> NDArray[Any]:
        """View of ``n`` numbers from byte ``start`` on."""
        return np.frombuffer(self.buffer, dtype, n, start)

    def holds(self, array: NDArray[Any]) -> bool:
        """Whether an array lies here."""
        return np.may_share_memory(np.frombuffer(self.buffer, np.uint8), array)


def node_memory(comm: Communicator, n_bytes: int) -> NodeMemory:
    """Allocate memory that the ranks of each node share, on all ranks together.

    Each rank has its own where no node has several, or one of them has no room.
    """
    n_bytes = max(1, n_bytes)
    if len(set(comm.nodes)) < comm.size:
        common = allocate_on_nodes(comm, n_bytes)
        if common is not None:
            return NodeMemory(common, n_bytes, True)
    return NodeMemory(np.empty(n_bytes, dtype=np.uint8), n_bytes, False)


def allocate_on_nodes(comm: Communicator, n_bytes: int) -> mmap.mmap | None:
    """Allocate memory once on each node, on all ranks together.

    Parameters
    ----------
    comm
        Ranks.
    n_bytes
        Size, > 0; may differ between nodes, not between the ranks of one.

    Returns
    -------
    mmap.mmap or None
        The memory of this rank's node, zeros.  None, on all ranks, if one of them cannot have it.
        It is given back when no rank refers to it any more, however the ranks end.
    """
    leader = comm.nodes[comm.rank]
    path: Path | None = None
    descriptor: int | None = None
    if comm.rank == leader:
        path = _FOLDER / f"clrelion-{os.getpid()}-{secrets.token_hex(8)}"
        descriptor = _reserved(path, n_bytes)
    paths = comm.allgather(path if descriptor is not None else None)
    of_node = paths[leader]
    if descriptor is None and of_node is not None:
        with contextlib.suppress(OSError):
            descriptor = os.open(of_node, os.O_RDWR)
    memory: mmap.mmap | None = None
    if descriptor is not None:
        with contextlib.suppress(OSError, ValueError):
            memory = mmap.mmap(descriptor, n_bytes)
        os.close(descriptor)
    has_all = all(comm.allgather(memory is not None))
    if comm.rank == leader and path is not None:
        path.unlink(missing_ok=True)
    return memory if has_all else None


def _reserved(path: Path, n_bytes: int) -> int | None:
    """Make a file with all its pages; None if there is no room."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError:
        return None
    try:
        os.posix_fallocate(descriptor, 0, n_bytes)
    except OSError:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        return None
    return descriptor
