"""Launches over the voxels of volumes, and sums by shell in two levels: device, then host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.device.session import DeviceSession
from clrelion.device.wide_numbers import wide_empty, wide_kind

__all__ = [
    "run_over_lines",
    "run_over_shells",
    "run_over_voxels",
    "start_sum_by_shell",
    "sum_by_shell",
    "wide_sums",
]

_GROUP = 64
_SHELLS_PER_GROUP = 32
_LANES = 8
"""Work-items that share the rows of a plane of a shell, which may be all that is beyond."""


def run_over_voxels(
    session: DeviceSession, name: str, shape: tuple[int, ...], *arguments: Any
) -> None:
    """Launch ``maximization/<name>`` with one work-item for each voxel of (z, y, x)."""
    nz, ny, nx = shape
    kernel = session.kernel(f"maximization/{name}")
    kernel((_rounded(nx, _GROUP), ny, nz), (_GROUP, 1, 1), *arguments)


def run_over_lines(session: DeviceSession, name: str, n: int, *arguments: Any) -> None:
    """Launch ``maximization/<name>`` with one work-item for each of ``n`` elements."""
    session.kernel(f"maximization/{name}")((_rounded(n, _GROUP),), (_GROUP,), *arguments)


def sum_by_shell(
    session: DeviceSession, name: str, n_shells: int, edge: int, n_values: int, *arguments: Any
) -> NDArray[np.float64]:
    """Sum quantities over the shells of a centred half array.

    Parameters
    ----------
    name : str
        Kernel ``maximization/<name>``: writes the sums of each plane and shell.
    n_shells, edge : int
        Shells, and planes of the array.
    n_values : int
        Quantities summed.
    *arguments
        Of the kernel, all but the last one.

    Returns
    -------
    ndarray
        float64, (n_values, n_shells).
    """
    return start_sum_by_shell(session, name, n_shells, edge, n_values, *arguments)()


def start_sum_by_shell(
    session: DeviceSession, name: str, n_shells: int, edge: int, n_values: int, *arguments: Any
) -> Callable[[], NDArray[np.float64]]:
    """Let the device begin with `sum_by_shell`; the result waits for the sums and gives them."""
    kind = wide_kind(session)
    out = wide_empty(session, (edge, n_shells, n_values), kind)
    if name.endswith("_vector"):
        # those for CPUs take one work-item a plane
        session.kernel(f"maximization/{name}", wide=kind)((edge,), (1,), *arguments, out)
    else:
        run_over_shells(session, name, n_shells, edge, *arguments, out, wide=kind)
    pending = session.to_host_later(out)
    return lambda: np.asarray(_as_float64(pending.result()[0], kind).sum(axis=0).T)


def run_over_shells(
    session: DeviceSession, name: str, n_shells: int, edge: int, *arguments: Any, **params: Any
) -> None:
    """Launch ``maximization/<name>``, whose work-items share the rows of a plane of a shell."""
    lanes = 1 if session.is_cpu else _LANES
    group = _SHELLS_PER_GROUP, lanes
    kernel = session.kernel(f"maximization/{name}", width=group[0], lanes=lanes, **params)
    kernel((_rounded(n_shells, group[0]), edge * lanes), group, *arguments)


def wide_sums(
    session: DeviceSession, name: str, n: int, n_values: int, *arguments: Any
) -> NDArray[np.float64]:
    """Sum quantities over the lines of a cube, in double or, without it, in compensated floats.

    Parameters
    ----------
    name : str
        Kernel ``maximization/<name>``: one work-item a line of n voxels.
    n, n_values : int
        Edge of the cube, and quantities summed.
    *arguments
        Of the kernel, all but the last one.

    Returns
    -------
    ndarray
        float64, (n_values, n, n).
    """
    kind = wide_kind(session)
    out = wide_empty(session, (n_values, n, n), kind)
    kernel = session.kernel(f"maximization/{name}", wide=kind)
    kernel((_rounded(n, _SHELLS_PER_GROUP), n), (_SHELLS_PER_GROUP, 1), *arguments, out)
    return _as_float64(session.to_host(out), kind)


def _as_float64(wide: NDArray[Any], kind: str) -> NDArray[np.float64]:
    return wide if kind == "double" else wide.astype(np.float64).sum(axis=-1)


def _rounded(n: int, group: int) -> int:
    return -(-n // group) * group
