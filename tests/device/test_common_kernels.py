"""cl/common and cl/device against NumPy, by throw-away kernels."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.capabilities import (
    FLOAT_ATOMICS_PATHS,
    INTEGER_ATOMICS_PATHS,
    integer_atomics_path,
)
from clrelion.device.session import DeviceSession
from clrelion.errors import KernelBuildError
from tests.reference import common, device

TYPES = """<%include file="/common/types.cl.mako"/>
__kernel void complex_functions(__global const real2 *a, __global const real2 *b,
                                __global real2 *result, const int n)
{
    const int i = (int)get_global_id(0);
    if (i >= n)
        return;
    result[i] = complex_multiply(a[i], b[i]);
    result[n + i] = complex_multiply_conjugate(a[i], b[i]);
    result[2 * n + i] = complex_conjugate(a[i]);
    result[3 * n + i] = (real2)(complex_norm2(a[i]), REAL(0));
    result[4 * n + i] = complex_phase(b[i].x);
}
"""
ATOMICS = """<%include file="/common/atomics.cl.mako"/>
__kernel void scatter(__global const int *cells, __global const real4 *values,
                      volatile __global real *sums, volatile __global real *single_sums,
                      const int n)
{
    const int i = (int)get_global_id(0);
    if (i >= n)
        return;
    atomic_add_real4(sums + 4 * cells[i], values[i]);
    atomic_add_real(single_sums + cells[i], values[i].x);
}
"""
FIXED_POINT = """<%include file="/common/fixed_point.cl.mako"/>
__kernel void add(__global const int *cells, __global const long *values,
                  volatile __global long *sums, const int n)
{
    const int i = (int)get_global_id(0);
    if (i < n)
        fixed_add(sums + cells[i], values[i]);
}
"""
REDUCE = """<%include file="/common/reduce.cl.mako"/>
__kernel void reductions(__global const real *values, __global real *reals, __global int *ints,
                         __global int *prefix, __local real *scratch, __local int *int_scratch)
{
    const int i = (int)get_global_id(0);
    const int group = (int)get_group_id(0);
    const real value = values[i];
    const real sum = group_sum(value, scratch);
    const real largest = group_max(value, scratch);
    const real smallest = group_min(value, scratch);
    real least = value;
    int place = (int)get_local_id(0);
    group_argmin(&least, &place, scratch, int_scratch);
    const int whole = (int)floor(value);
    const int whole_sum = group_sum_int(whole, int_scratch);
    int total;
    prefix[i] = group_exclusive_sum_int(whole, int_scratch, &total);
    // the last item writes: every item must have received the results
    if (get_local_id(0) == get_local_size(0) - 1) {
        reals[4 * group] = sum;
        reals[4 * group + 1] = largest;
        reals[4 * group + 2] = smallest;
        reals[4 * group + 3] = least;
        ints[3 * group] = place;
        ints[3 * group + 1] = whole_sum;
        ints[3 * group + 2] = total;
    }
}
"""
TENSOR = """<%include file="/common/tensor.cl.mako"/>
__kernel void multiply(__global const uchar *A, __global const uchar *B, __global float *D)
{
    __local __attribute__((aligned(128))) uchar tiles[1024];
    const uint base = local_address(tiles);
    const int lane = (int)get_local_id(0);
    copy_to_local(base + 16 * lane, A + 16 * lane);
    COMMIT_COPIES;
    copy_to_local(base + 512 + 16 * lane, B + 16 * lane);
    COMMIT_COPIES;
    uint a[4], b[4];
    const uint at = base + 32 * (lane % 16) + 16 * (lane / 16);
    WAIT_COPIES(1);
    barrier(CLK_LOCAL_MEM_FENCE);
    load_fragments(a, at);
    WAIT_COPIES(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    load_transposed(b, at + 512);
    for (int j = 0; j < 2; j++) {
        float d[4] = {1.0f, 1.0f, 1.0f, 1.0f};
        multiply_tiles(d, a, b + 2 * j);
        for (int v = 0; v < 4; v++)
            D[16 * (lane / 4 + 8 * (v / 2)) + 8 * j + 2 * (lane % 4) + v % 2] = d[v];
    }
}
"""


def relative_error(result: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(result - expected) / np.linalg.norm(expected))


def epsilon(session: DeviceSession) -> float:
    return float(np.finfo(session.real).eps)


@pytest.fixture(params=["session", "session_double"])
def either(request: pytest.FixtureRequest, session: DeviceSession) -> DeviceSession:
    """Both precisions."""
    opened: DeviceSession = request.getfixturevalue(request.param)
    return opened


def random_complex(session: DeviceSession, n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(n) + 1j * rng.standard_normal(n)).astype(session.complex)


def test_types(either: DeviceSession) -> None:
    n = 1003
    a, b = random_complex(either, n, 1), random_complex(either, n, 2)
    result = either.empty((5, n), either.complex)
    kernel = either.kernel_from_source("complex_functions", TYPES)
    kernel((1024,), (64,), either.to_device(a), either.to_device(b), result, n)
    for row, expected in zip(either.to_host(result), common.complex_functions(a, b), strict=True):
        assert relative_error(row, expected) < 4 * epsilon(either)


@pytest.mark.parametrize("path", FLOAT_ATOMICS_PATHS)
def test_atomics(either: DeviceSession, path: str) -> None:
    own = either.capabilities.atomics_path(either.precision)
    rng = np.random.default_rng(3)
    n, n_cells = 20011, 7  # few cells: many additions collide
    cells = rng.integers(0, n_cells, n, dtype=np.int32)
    # whole numbers: sums are exact in any order, so a single lost addition shows
    values = rng.integers(-20, 21, (n, 4)).astype(either.real)
    try:
        kernel = either.kernel_from_source("scatter", ATOMICS, float_atomics=path)
    except KernelBuildError:
        assert path != own, "the path chosen by the probe must build"
        assert path != "cas", "compare-exchange is the fallback of every device"
        pytest.skip(f"{either.info.label} has no path {path}")
    sums = either.zeros((n_cells, 4), either.real)
    single_sums = either.zeros(n_cells, either.real)
    n_items = -(-n // 64) * 64
    arguments = (either.to_device(cells), either.to_device(values), sums, single_sums, n)
    kernel((n_items,), (64,), *arguments)
    expected = common.atomic_add(cells, values, n_cells)
    np.testing.assert_array_equal(either.to_host(sums), expected)
    np.testing.assert_array_equal(either.to_host(single_sums), expected[:, 0])


@pytest.mark.parametrize("path", INTEGER_ATOMICS_PATHS)
def test_fixed_add(session: DeviceSession, path: str) -> None:
    own = integer_atomics_path(session.device, session.context)
    if path != own and path == "long":
        pytest.skip(f"{session.info.label} has no 64-bit atomics")
    rng = np.random.default_rng(4)
    n, n_cells = 20011, 7
    cells = rng.integers(0, n_cells, n, dtype=np.int32)
    # of all sizes and both signs: carries and borrows between the two halves
    values = rng.integers(-(2**48), 2**48, n) >> rng.integers(0, 48, n)
    kernel = session.kernel_from_source("add", FIXED_POINT, integer_atomics=path)
    sums = session.to_device(np.arange(n_cells) - 3)
    n_items = -(-n // 64) * 64
    kernel((n_items,), (64,), session.to_device(cells), session.to_device(values), sums, n)
    expected = np.arange(n_cells) - 3
    np.add.at(expected, cells, values)
    np.testing.assert_array_equal(session.to_host(sums), expected)


@pytest.mark.parametrize("group", [1, 2, 30, 64, 129])
def test_reduce(either: DeviceSession, group: int) -> None:
    import pyopencl as cl

    n_groups = 5
    rng = np.random.default_rng(group)
    values = (rng.integers(-40, 40, n_groups * group) / 4).astype(either.real)
    reals = either.empty((n_groups, 4), either.real)
    ints = either.empty((n_groups, 3), np.int32)
    prefix = either.empty(n_groups * group, np.int32)
    kernel = either.kernel_from_source("reductions", REDUCE)
    size = np.dtype(either.real).itemsize
    kernel(
        (n_groups * group,), (group,), either.to_device(values), reals, ints, prefix,
        cl.LocalMemory(size * group), cl.LocalMemory(4 * group),
    )  # fmt: skip
    expected = common.group_reductions(values, group)
    got = either.to_host(reals)
    np.testing.assert_allclose(got[:, 0], expected["sum"], rtol=4 * epsilon(either))
    np.testing.assert_array_equal(got[:, 1], expected["max"])
    np.testing.assert_array_equal(got[:, 2], expected["min"])
    np.testing.assert_array_equal(got[:, 3], expected["min"])
    places, whole_sums, totals = either.to_host(ints).T
    np.testing.assert_array_equal(places, expected["argmin"])
    np.testing.assert_array_equal(whole_sums, expected["sum_int"])
    np.testing.assert_array_equal(totals, expected["sum_int"])
    np.testing.assert_array_equal(either.to_host(prefix), expected["exclusive_sum"])


def test_tensor(session: DeviceSession) -> None:
    if session.capabilities.tensor == "none":
        pytest.skip(f"{session.info.label} has no tensor path")
    rng = np.random.default_rng(4)
    A, B = rng.integers(-99, 100, (2, 16, 16)).astype(np.float16)
    D = session.zeros((16, 16), np.float32)
    kernel = session.kernel_from_source("multiply", TENSOR)
    operands = [session.to_device(x.view(np.uint8)) for x in (A, B)]
    kernel((32,), (32,), *operands, D)
    np.testing.assert_array_equal(session.to_host(D), 1.0 + common.multiply_tiles(A, B))


def test_widen_to_complex(either: DeviceSession) -> None:
    images = np.random.default_rng(5).standard_normal((3, 6, 6)).astype(either.real)
    output = either.zeros((2, 6, 6), either.complex)
    kernel = either.kernel("device/widen_to_complex")
    kernel((128,), (64,), either.to_device(images), output, 36, 72)
    expected = device.widen_to_complex(images, 36, 72)
    np.testing.assert_array_equal(either.to_host(output).reshape(-1), expected)


def test_crop_half_transform(either: DeviceSession) -> None:
    full = random_complex(either, 2 * 6 * 6, 6).reshape(2, 6, 6)
    output = either.zeros((3, 6, 4), either.complex)
    kernel = either.kernel("device/crop_half_transform")
    kernel((64,), (64,), either.to_device(full), output, 24, 48, 6, 4, 0.25)
    got = either.to_host(output)
    np.testing.assert_array_equal(got[0], 0)
    np.testing.assert_array_equal(got[1:], device.crop_half_transform(full, 4, 0.25))
