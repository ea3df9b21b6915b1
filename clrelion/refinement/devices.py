"""Device and host threads of this rank."""

from __future__ import annotations

import logging
import os

from clrelion.device.choice import DeviceInfo, choose_device
from clrelion.device.memory import MemoryBudget
from clrelion.device.session import DeviceSession
from clrelion.fourier.transforms import set_workers
from clrelion.options import RefineOptions
from clrelion.parallel.communicator import Communicator
from clrelion.parallel.placement import available_cores, device_of_rank, local_index

__all__ = ["guessed_speed", "memory_budget", "open_session", "set_host_threads"]

_log = logging.getLogger(__name__)

_CPU_SPEED_OF_A_CORE = 0.002
"""Of a GPU's; only the first iteration depends on this guess."""


def set_host_threads(n_threads: int | None, comm: Communicator) -> None:
    """Set the threads of host transforms; ranks of one node share its cores."""
    cores = available_cores()
    if n_threads is None and comm.local_size > 1:
        n_threads = max(1, cores // comm.local_size)
    set_workers(n_threads)
    if comm.size > 1 and cores == 1 and (os.cpu_count() or 1) > 1:
        _log.warning(
            "%s is bound to one of %d cores; start with mpirun --bind-to none, or srun with "
            "--cpus-per-task",
            comm.where(comm.rank),
            os.cpu_count(),
        )


def open_session(options: RefineOptions, comm: Communicator) -> DeviceSession:
    """Open this rank's device; rank 0 prints who has which.

    Raises
    ------
    DeviceError, OptionsError
        No such device, or an entry of ``--device`` that no rank takes.
    """
    spec = device_of_rank(options.device, comm)
    index = local_index(options.device, comm)
    session = comm.on_all(
        lambda: DeviceSession(
            choose_device(spec, index), options.precision, deterministic=options.deterministic
        )
    )
    info = session.info
    if comm.size == 1:
        _log.info("Device: %s, driver %s", info.label, info.driver)
        return session
    found = comm.allgather((comm.nodes[comm.rank], _identity(info), f"{info.label}, {info.driver}"))
    if not comm.is_first:
        return session
    users: dict[tuple[int, str], list[int]] = {}
    for rank, (node, identity, label) in enumerate(found):
        _log.info("Device of %s: %s", comm.where(rank), label)
        users.setdefault((node, identity), []).append(rank)
    for ranks in users.values():
        if len(ranks) > 1:
            _log.warning(
                "%d ranks on %s share one device, %s: they take turns and share its memory; start "
                "one rank a device",
                len(ranks),
                comm.hosts[ranks[0]],
                found[ranks[0]][2],
            )
    return session


def ranks_on_device(session: DeviceSession, comm: Communicator) -> int:
    """Count the ranks that work with this rank's device."""
    found = comm.allgather((comm.nodes[comm.rank], _identity(session.info)))
    return found.count(found[comm.rank])


def guessed_speed(session: DeviceSession, comm: Communicator) -> float:
    """Speed of this rank relative to a rank with a GPU of its own, before anything is measured."""
    speed = _CPU_SPEED_OF_A_CORE * session.n_compute_units if session.is_cpu else 1.0
    return speed / ranks_on_device(session, comm)


def memory_budget(
    options: RefineOptions, session: DeviceSession, comm: Communicator
) -> MemoryBudget:
    """Device memory this rank may use: its part of what is free, within the user's limits."""
    n_ranks = ranks_on_device(session, comm)
    limit = options.memory_limit_bytes
    if options.free_gpu_memory_mb > 0 or n_ranks > 1:
        free = session.memory_budget().bytes - int(options.free_gpu_memory_mb * 1e6)
        share = max(1, free // n_ranks)
        limit = share if limit is None else min(limit, share)
    comm.barrier()  # nobody takes any before all have looked
    return session.memory_budget(limit)


def _identity(info: DeviceInfo) -> str:
    """Tell devices of a node apart."""
    if info.kind == "cpu":
        return "cpu"  # the same cores, by whichever runtime
    return info.uuid or info.pci_bus_id or f"{info.platform_index}:{info.device_index}"
