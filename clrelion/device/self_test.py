"""A numerical check of a device in about a second, at every start (hashcat's habit)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clrelion.device.session import DeviceSession

logger = logging.getLogger(__name__)

_N_VALUES = 10007  # not a multiple of any work-group size
_N_CELLS = 97
_GROUP = 64
_SEED = 20261122

_ARITHMETIC = """<%include file="/common/types.cl.mako"/>
__kernel void self_test_arithmetic(__global const real2 *a, __global const real2 *b,
                                   __global real2 *result, const int n)
{
    const int i = (int)get_global_id(0);
    if (i >= n)
        return;
    const real2 product = complex_multiply(a[i], complex_phase(b[i].x));
    result[i] = product + (real2)(sqrt(fabs(b[i].y)), exp(-complex_norm2(b[i])));
}
"""
_SCATTER = """<%include file="/common/atomics.cl.mako"/>
__kernel void self_test_scatter(__global const real *values, __global const int *cells,
                                volatile __global real *sums, const int n)
{
    const int i = (int)get_global_id(0);
    if (i >= n)
        return;
    const real v = values[i];
    atomic_add_real4(sums + 4 * cells[i], (real4)(v, REAL(2) * v, -v, REAL(1)));
}
"""
_REDUCTION = """<%include file="/common/reduce.cl.mako"/>
__kernel void self_test_reduction(__global const real *values, __global real *sums,
                                  __global int *places, const int n)
{
    __local real scratch[${group}];
    __local int index_scratch[${group}];
    const int i = (int)get_global_id(0);
    real smallest = i < n ? values[i] : REAL(1e30);
    int place = i;
    const real sum = group_sum(i < n ? smallest : REAL(0), scratch);
    group_argmin(&smallest, &place, scratch, index_scratch);
    if (get_local_id(0) == 0) {
        sums[get_group_id(0)] = sum;
        places[get_group_id(0)] = place;
    }
}
"""


@dataclass(frozen=True)
class SelfTestResult:
    """Outcome of :func:`self_test`.

    Attributes
    ----------
    passed : bool
    seconds : float
        Including the build of the kernels.
    message : str
        ``passed``, or what failed.
    """

    passed: bool
    seconds: float
    message: str


def self_test(session: DeviceSession) -> SelfTestResult:
    """Compare arithmetic, atomics, reductions and copies of a device with NumPy.

    Never raises: a device that fails to build or run has failed, and the message says how.
    """
    start = time.perf_counter()
    problems = []
    checks: tuple[tuple[str, Callable[[DeviceSession], float]], ...] = (
        ("arithmetic", _arithmetic_error),
        ("atomic scatter", _scatter_error),
        ("work-group reduction", _reduction_error),
    )
    tolerance = 2e-5 if session.precision == "single" else 1e-12
    for name, check in checks:
        try:
            error = check(session)
        except Exception as exception:  # a broken driver may raise anything; the listing goes on
            problems.append(f"{name}: {' '.join(str(exception).split())[:300]}")
            continue
        if not error <= tolerance:
            problems.append(f"{name}: relative error {error:.1e}")
    message = "; ".join(problems) if problems else "passed"
    result = SelfTestResult(not problems, time.perf_counter() - start, message)
    level = logging.WARNING if problems else logging.DEBUG
    logger.log(level, "self-test of %s: %s (%.1f s)", session.info.label, message, result.seconds)
    return result


def _relative_error(result: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(result - expected) / np.linalg.norm(expected))


def _arithmetic_error(session: DeviceSession) -> float:
    rng = np.random.default_rng(_SEED)
    a, b = rng.standard_normal((2, _N_VALUES, 2)).view(np.complex128)[..., 0]
    a, b = a.astype(session.complex), b.astype(session.complex)
    result = session.empty(_N_VALUES, session.complex)
    kernel = session.kernel_from_source("self_test_arithmetic", _ARITHMETIC)
    n_items = -(-_N_VALUES // _GROUP) * _GROUP
    kernel((n_items,), (_GROUP,), session.to_device(a), session.to_device(b), result, _N_VALUES)
    x, y = b.real.astype(np.float64), b.imag.astype(np.float64)
    expected = a * np.exp(1j * x) + np.sqrt(np.abs(y)) + 1j * np.exp(-(x**2) - y**2)
    return _relative_error(session.to_host(result), expected)


def _scatter_error(session: DeviceSession) -> float:
    rng = np.random.default_rng(_SEED)
    values = rng.random(_N_VALUES).astype(session.real)
    cells = rng.integers(0, _N_CELLS, _N_VALUES, dtype=np.int32)
    sums = session.zeros((_N_CELLS, 4), session.real)
    kernel = session.kernel_from_source("self_test_scatter", _SCATTER)
    n_items = -(-_N_VALUES // _GROUP) * _GROUP
    arguments = (session.to_device(values), session.to_device(cells), sums, _N_VALUES)
    kernel((n_items,), (_GROUP,), *arguments)
    expected = np.zeros((_N_CELLS, 4))
    v = values.astype(np.float64)
    np.add.at(expected, cells, np.stack([v, 2 * v, -v, np.ones_like(v)], axis=-1))
    return _relative_error(session.to_host(sums), expected)


def _reduction_error(session: DeviceSession) -> float:
    rng = np.random.default_rng(_SEED)
    values = rng.random(_N_VALUES).astype(session.real)
    n_groups = -(-_N_VALUES // _GROUP)
    sums = session.empty(n_groups, session.real)
    places = session.empty(n_groups, np.int32)
    kernel = session.kernel_from_source("self_test_reduction", _REDUCTION, group=_GROUP)
    kernel((n_groups * _GROUP,), (_GROUP,), session.to_device(values), sums, places, _N_VALUES)
    padded = np.full(n_groups * _GROUP, np.inf)
    padded[:_N_VALUES] = values
    grouped = padded.reshape(n_groups, _GROUP)
    expected_places = np.argmin(grouped, axis=1) + _GROUP * np.arange(n_groups)
    if not np.array_equal(session.to_host(places), expected_places):
        return float("inf")
    expected = np.where(np.isfinite(grouped), grouped, 0.0).sum(axis=1)
    return _relative_error(session.to_host(sums), expected)
