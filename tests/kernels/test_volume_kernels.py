"""Kernels on back-projection sums and transforms, each against its twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.device.session import DeviceSession
from clrelion.device.wide_numbers import wide_kind
from clrelion.fourier.shells import shell_bounds
from clrelion.maximization.half_maps import bin_starts
from clrelion.orientations.symmetry import PointGroup
from tests import tolerances
from tests.kernels.launch import Output, int32, rounded, run_kernel
from tests.reference import divide_volume as division
from tests.reference import shell_runs, volume_sums

# padding, R: edge 2(P+1)+1
SIZES = [(1.0, 3), (1.85, 4), (2.0, 5)]
GROUP = (8, 1, 1)


@pytest.fixture(params=[1, 5], ids=["1 lane", "5 lanes"])
def lanes(request: pytest.FixtureRequest) -> int:
    """Work-items that share a plane of a shell."""
    n: int = request.param
    return n


def radius_of(size: tuple[float, int]) -> int:
    return int(size[0] * size[1] + 0.5)


def random_volume(session: DeviceSession, radius: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    edge = 2 * (radius + 1) + 1
    volume = rng.standard_normal((edge, edge, radius + 2, 4))
    volume[..., 2] = np.abs(volume[..., 2])
    volume[rng.random(volume.shape[:3]) < 0.1, 2] = 0
    volume[..., 3] = 0
    return rounded(session, volume)


def shifted(session: DeviceSession, volume: NDArray[Any]) -> tuple[Output, int]:
    """Give the second of two volumes in one array, and its first voxel."""
    n = volume[..., 0].size
    both = Output(session, (2, *volume.shape), start=np.stack([np.full_like(volume, 7), volume]))
    return both, n


def second_of(output: Output) -> NDArray[Any]:
    """Second volume; the first one must be as it was."""
    found = output.read()
    assert np.all(found[0] == 7)
    return np.asarray(found[1])


def close(session: DeviceSession, found: Any, expected: Any, n_terms: int = 1) -> None:
    tolerances.assert_close(found, expected, tolerances.of_sum(session.real, n_terms))


def voxels(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return shape[2], shape[1], shape[0]


@pytest.fixture(params=SIZES, ids=str)
def size(request: pytest.FixtureRequest) -> tuple[float, int]:
    chosen: tuple[float, int] = request.param
    return chosen


@pytest.fixture
def volume(any_session: DeviceSession, size: tuple[float, int]) -> NDArray[np.float64]:
    return random_volume(any_session, radius_of(size), 0)


def test_repair_hermitian(any_session: DeviceSession, volume: NDArray[Any]) -> None:
    edge, _, nx, _ = volume.shape
    both, start = shifted(any_session, volume)
    run_kernel(
        any_session, "maximization/repair_hermitian", (edge * edge // 2,), (16,),
        both, start, edge, nx,
    )  # fmt: skip
    close(any_session, second_of(both), volume_sums.repair_hermitian(volume))


def test_add_volume(any_session: DeviceSession, volume: NDArray[Any]) -> None:
    both, start = shifted(any_session, volume)
    other = random_volume(any_session, volume.shape[2] - 2, 1)
    source, from_ = shifted(any_session, other)
    run_kernel(
        any_session, "maximization/add_volume", (start,), (16,), both, start, source, from_, start
    )
    close(any_session, second_of(both), volume_sums.add_volume(volume, other))


def test_add_whole_numbers(any_session: DeviceSession) -> None:
    rng = np.random.default_rng(3)
    target, source = rng.integers(-(2**61), 2**61, (2, 333))
    changed = Output(any_session, target.shape, np.int64, start=target)
    run_kernel(
        any_session, "maximization/add_whole_numbers", (336,), (16,), changed, 33, source, 300
    )
    expected = target.copy()
    expected[33:] = volume_sums.add_whole_numbers(target[33:], source[:300])
    np.testing.assert_array_equal(changed.read(), expected)


@pytest.mark.parametrize("symmetry", ["C3", "D7", "I1"])
def test_symmetrise_volume(any_session: DeviceSession, volume: NDArray[Any], symmetry: str) -> None:
    edge, _, nx, _ = volume.shape
    volume = volume_sums.repair_hermitian(volume)
    operators = PointGroup.from_name(symmetry).operators[1:9]
    high = np.round(operators * 2**11) / 2**11
    parts = np.concatenate([high.reshape(-1, 9), (operators - high).reshape(-1, 9)], axis=1)
    both, start = shifted(any_session, rounded(any_session, volume))
    out = Output(any_session, volume.shape)
    run_kernel(
        any_session, "maximization/symmetrise_volume", voxels(volume.shape), GROUP,
        both, start, edge, nx, (nx - 2) ** 2, parts, len(parts), 0, out, 0,
    )  # fmt: skip
    expected = volume_sums.symmetrise_volume(volume, operators, (nx - 2) ** 2)
    np.testing.assert_array_equal(out.read_untouched(), np.isnan(expected))
    inside = ~np.isnan(expected)
    close(any_session, out.read()[inside], expected[inside])


def test_symmetrise_far_from_the_origin(any_session: DeviceSession) -> None:
    """Points at 10^3 voxels are placed as precisely as near ones: to 1e-7 of a voxel."""
    operator = PointGroup.from_name("I1").operators[7]
    high = np.round(operator * 2**11) / 2**11
    parts = np.concatenate([high.reshape(-1), (operator - high).reshape(-1)])
    points = np.array([[700, 500, -400], [999, 30, 20], [3, -710, 700]])
    place_points = any_session.kernel_from_source("place_points", _PLACE_POINTS)
    out = any_session.empty((len(points), 6), any_session.real)
    place_points(
        (len(points),), (1,), any_session.to_device(points, np.int32),
        any_session.to_device(parts, any_session.real), out,
    )  # fmt: skip
    found = any_session.to_host(out).astype(np.float64)
    exact = points @ operator.T
    np.testing.assert_allclose(found[:, :3] + found[:, 3:], exact, atol=2e-7)
    assert np.all((found[:, 3:] >= 0) & (found[:, 3:] <= 1))


def test_symmetrise_lattice(any_session: DeviceSession, volume: NDArray[Any]) -> None:
    edge, _, nx, _ = volume.shape
    volume = volume_sums.repair_hermitian(volume)
    operators = np.round(PointGroup.from_name("O").operators).astype(np.int64)
    both, start = shifted(any_session, np.full_like(volume, 3.0))
    run_kernel(
        any_session, "maximization/symmetrise_lattice", voxels(volume.shape), GROUP,
        rounded(any_session, volume), 0, edge, nx, (nx - 2) ** 2, int32(operators.reshape(-1, 9)),
        len(operators), 0, both, start,
    )  # fmt: skip
    expected = volume_sums.symmetrise_lattice(volume, operators, (nx - 2) ** 2)
    expected[np.isnan(expected)] = 3.0
    close(any_session, second_of(both), expected)


def test_join_volumes(any_session: DeviceSession, volume: NDArray[Any]) -> None:
    edge, _, nx, _ = volume.shape
    other = random_volume(any_session, nx - 2, 1)
    one, start = shifted(any_session, volume)
    two, _ = shifted(any_session, other)
    run_kernel(
        any_session, "maximization/join_volumes", voxels(volume.shape), GROUP,
        one, start, two, start, edge, nx, 6,
    )  # fmt: skip
    expected = volume_sums.join_volumes(volume, other, 6)
    close(any_session, second_of(one), expected[0])
    close(any_session, second_of(two), expected[1])


def test_downsample_volume(
    any_session: DeviceSession, volume: NDArray[Any], size: tuple[float, int]
) -> None:
    edge, _, nx, _ = volume.shape
    starts, half_starts = bin_starts(size[0], nx - 2)
    starts, half_starts = np.append(starts, edge), np.append(half_starts, nx)
    n, n_half = len(starts) - 1, len(half_starts) - 1
    both, start = shifted(any_session, volume)
    out = Output(any_session, (n, n, n_half), any_session.complex)
    run_kernel(
        any_session, "maximization/downsample_volume", (n_half, n, n), GROUP,
        both, start, edge, nx, int32(starts), int32(half_starts), n, n_half, out,
    )  # fmt: skip
    close(any_session, out.read(), volume_sums.downsample_volume(volume, starts, half_starts))


def wide_output(
    session: DeviceSession, wide: str, shape: tuple[int, ...]
) -> tuple[Output, dict[str, Any]]:
    """Output of sums in double or in pairs of floats."""
    if session.precision == "double" and wide == "pair":
        pytest.skip("pairs of floats are for single precision")
    pair = wide == "pair"
    dtype = np.float32 if pair else np.float64
    return Output(session, (*shape, 2) if pair else shape, dtype), {"wide": wide}


def total(output: Output, wide: str) -> NDArray[np.float64]:
    found = output.read().astype(np.float64)
    return found.sum(axis=-1) if wide == "pair" else found


@pytest.mark.parametrize("wide", ["double", "pair"])
class TestShellSums:
    @staticmethod
    def bounds(size: tuple[float, int]) -> NDArray[np.int32]:
        """Shells of the data, and one for all that is beyond."""
        bounds = shell_bounds(size[1] + 2, radius_of(size) ** 2, size[0])
        return np.append(bounds, np.int32(1 << 30))

    def test_shell_weights(
        self, any_session: DeviceSession, volume: NDArray[Any], size: tuple[float, int], wide: str,
        lanes: int,
    ) -> None:  # fmt: skip
        edge, _, nx, _ = volume.shape
        bounds = self.bounds(size)
        n = len(bounds) - 1
        both, start = shifted(any_session, volume)
        out, parameters = wide_output(any_session, wide, (edge, n, 3))
        run_kernel(
            any_session, "maximization/shell_weights", (n, edge * lanes), (4, lanes),
            both, start, edge, nx, bounds, n, out, width=4, lanes=lanes, **parameters,
        )  # fmt: skip
        found, expected = total(out, wide), shell_runs.shell_weights(volume, bounds)
        tolerances.assert_close(found, expected, 1e-7 if wide == "pair" else 1e-13)
        np.testing.assert_array_equal(found[..., 2], expected[..., 2])
        assert found[..., 2].sum() == volume[..., 0].size

    def test_shell_power(
        self, any_session: DeviceSession, size: tuple[float, int], wide: str, lanes: int
    ) -> None:
        transform = self.transform(any_session, size, 0)
        edge, _, nx = transform.shape
        bounds = self.bounds(size)[:-1]
        n = len(bounds) - 1
        both = np.stack([transform, 2 * transform])
        out, parameters = wide_output(any_session, wide, (edge, n, 2))
        run_kernel(
            any_session, "maximization/shell_power", (n, edge * lanes), (4, lanes),
            both, transform.size, edge, nx, bounds, n, out, width=4, lanes=lanes, **parameters,
        )  # fmt: skip
        close(any_session, total(out, wide), shell_runs.shell_power(2 * transform, bounds))

    def test_shell_correlation(
        self, any_session: DeviceSession, size: tuple[float, int], wide: str, lanes: int
    ) -> None:
        one, two = (self.transform(any_session, size, seed) for seed in (0, 1))
        edge, _, nx = one.shape
        bounds = self.bounds(size)
        n = len(bounds) - 1
        out, parameters = wide_output(any_session, wide, (edge, n, 3))
        run_kernel(
            any_session, "maximization/shell_correlation", (n, edge * lanes), (4, lanes),
            one, two, edge, nx, bounds, n, out, width=4, lanes=lanes, **parameters,
        )  # fmt: skip
        close(any_session, total(out, wide), shell_runs.shell_correlation(one, two, bounds))

    @pytest.mark.parametrize("kernel", ["weight_floors", "weight_floors_vector"])
    def test_weight_floors(
        self, any_session: DeviceSession, volume: NDArray[Any], size: tuple[float, int], wide: str,
        kernel: str, lanes: int,
    ) -> None:  # fmt: skip
        if "vector" in kernel and lanes > 1:
            pytest.skip("its work-items share nothing")
        edge, _, nx, _ = volume.shape
        priors = priors_of(size)
        # (p R)^2 can be beyond the squared radius
        floor_bounds = shell_bounds(size[1], round((size[0] * size[1]) ** 2), size[0], "floor")
        n = len(floor_bounds) - 1
        both, start = shifted(any_session, volume)
        out, parameters = wide_output(any_session, wide, (edge, n, 2))
        if "vector" not in kernel:
            parameters |= {"width": 4, "lanes": lanes}
        items, group = ((edge,), (1,)) if "vector" in kernel else ((n, edge * lanes), (4, lanes))
        run_kernel(
            any_session, f"maximization/{kernel}", items, group,
            both, start, edge, nx, (nx - 2) ** 2, floor_bounds, n, priors, out, **parameters,
        )  # fmt: skip
        expected = division.weight_floors(
            volume, (nx - 2) ** 2, floor_bounds, rounded(any_session, priors)
        )
        close(any_session, total(out, wide), expected)
        np.testing.assert_array_equal(total(out, wide)[..., 1], expected[..., 1])

    @staticmethod
    def transform(session: DeviceSession, size: tuple[float, int], seed: int) -> NDArray[Any]:
        volume = random_volume(session, radius_of(size), seed)
        return np.asarray(volume[..., 0] + 1j * volume[..., 1])


def priors_of(size: tuple[float, int]) -> NDArray[np.float64]:
    """By squared radius: none below shell 1, one shell without power, none at the radius."""
    bounds = TestShellSums.bounds(size)
    shells = np.searchsorted(bounds, np.arange(radius_of(size) ** 2 + 1), side="right") - 1
    by_shell = np.linspace(0.5, 2.0, len(bounds) - 1)
    by_shell[0] = by_shell[-1] = 0
    by_shell[2] = -1
    return by_shell[shells]


def test_shell_coverage(
    any_session: DeviceSession, volume: NDArray[Any], size: tuple[float, int], lanes: int
) -> None:
    edge, _, nx, _ = volume.shape
    bounds = shell_bounds(size[1] + 2, radius_of(size) ** 2, size[0])
    n = len(bounds) - 1
    thresholds = np.linspace(0.1, 2.0, n)
    thresholds[1] = np.inf
    both, start = shifted(any_session, volume)
    out = Output(any_session, (edge, n), np.int32)
    run_kernel(
        any_session, "maximization/shell_coverage", (n, edge * lanes), (4, lanes),
        both, start, edge, nx, bounds, n, thresholds, out,
        width=4, lanes=lanes, wide=wide_kind(any_session),
    )  # fmt: skip
    expected = shell_runs.shell_coverage(volume, bounds, thresholds)
    np.testing.assert_array_equal(out.read(), expected)


@pytest.mark.parametrize("kernel", ["divide_volume", "divide_volume_vector"])
@pytest.mark.parametrize("which", ["columns", "rows", "far apart"])
def test_divide_volume(
    any_session: DeviceSession, volume: NDArray[Any], size: tuple[float, int], kernel: str,
    which: str,
) -> None:  # fmt: skip
    edge, _, nx, _ = volume.shape
    radius = nx - 2
    floors = np.linspace(0.3, 1.0, radius**2 + 1)
    floors[:3] = 0  # and some weights are 0 there
    factors = np.stack([priors_of(size), floors], axis=-1)
    part = {
        "columns": (-radius, edge - 2, -radius, edge - 2, 1, radius),
        "rows": (0, 2 * radius, 1 - radius, radius, 0, radius + 1),
        "far apart": (0, 2 * radius + 5, -radius, 3, 0, radius),
    }[which]
    both, start = shifted(any_session, volume)
    out = Output(any_session, (part[1], part[3], part[5]), any_session.complex)
    one_a_plane = "vector" in kernel
    run_kernel(
        any_session, f"maximization/{kernel}",
        (part[1],) if one_a_plane else (part[5], part[3], part[1]), (1,) if one_a_plane else GROUP,
        both, start, edge, nx, radius**2, factors.ravel(), *part, out,
    )  # fmt: skip
    expected = division.divide_volume(volume, radius**2, rounded(any_session, factors))
    close(any_session, out.read(), division.part_of(expected, *part))


@pytest.mark.parametrize(("inner", "lacks_lowest"), [(-1, 0), (4, 0), (-1, 1)])
def test_clear_shells(
    any_session: DeviceSession, size: tuple[float, int], inner: int, lacks_lowest: int
) -> None:
    transform = TestShellSums.transform(any_session, size, 0)
    edge, _, nx = transform.shape
    out = Output(any_session, (2, *transform.shape), any_session.complex, [transform] * 2)
    run_kernel(
        any_session, "maximization/clear_shells", voxels(transform.shape), GROUP,
        out, transform.size, edge, nx, inner, (nx - 2) ** 2, lacks_lowest,
    )  # fmt: skip
    found = out.read()
    np.testing.assert_array_equal(found[0], transform.astype(any_session.complex))
    expected = shell_runs.clear_shells(transform, inner, (nx - 2) ** 2, lacks_lowest > 0)
    np.testing.assert_array_equal(found[1], expected.astype(any_session.complex))


_PLACE_POINTS = """
<%include file="/maximization/symmetrise_volume.cl.mako"/>
__kernel void place_points(
    __global const int* points, __global const real* operator_parts, __global real* out)
{
    const int i = get_global_id(0);
    const real3 v = (real3)(points[3 * i], points[3 * i + 1], points[3 * i + 2]);
    for (int c = 0; c < 3; c++) {
        __global const real* h = operator_parts + 3 * c;
        const real high = h[0] * v.x + h[1] * v.y + h[2] * v.z;
        const real low = h[9] * v.x + h[10] * v.y + h[11] * v.z;
        real fraction;
        out[6 * i + c] = (real)split(high, low, &fraction);
        out[6 * i + 3 + c] = fraction;
    }
}
"""
