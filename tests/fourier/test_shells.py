from __future__ import annotations

import numpy as np
import pytest

from clrelion.fourier import shells


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, 1), (-0.5, -1), (1.5, 2), (2.5, 3), (-2.5, -3), (0.49, 0), (-0.49, 0), (0.0, 0)],
)
def test_halves_round_away_from_zero(value: float, expected: int) -> None:
    assert shells.round_half_away_int(value) == expected
    assert shells.round_half_away(np.array([value]))[0] == expected


def test_half_transform_frequencies_put_nyquist_on_the_positive_side() -> None:
    kx, ky = shells.half_transform_frequencies(6)
    assert kx.shape == (6, 4)
    np.testing.assert_array_equal(ky[:, 0], [0, 1, 2, 3, -2, -1])
    np.testing.assert_array_equal(kx[2], [0, 1, 2, 3])
    with pytest.raises(ValueError, match="read-only"):
        kx[0, 0] = 1


@pytest.mark.parametrize("n", [8, 30])
def test_pixels_per_shell_leaves_out_friedel_duplicates(n: int) -> None:
    expected = np.zeros(n // 2 + 1, dtype=int)
    for y in range(-n // 2 + 1, n // 2 + 1):
        for x in range(n // 2 + 1):
            shell = int(np.hypot(x, y) + 0.5)
            if shell <= n // 2 and not (x == 0 and y < 0):
                expected[shell] += 1
    np.testing.assert_array_equal(shells.pixels_per_shell(n), expected)


def test_shells_of_a_volume() -> None:
    n = 12
    found = shells.half_transform_shells_3d(n)
    k = np.r_[0 : n // 2 + 1, -n // 2 + 1 : 0]
    z, y, x = np.meshgrid(k, k, np.arange(n // 2 + 1), indexing="ij")
    np.testing.assert_array_equal(found, np.floor(np.sqrt(x**2 + y**2 + z**2) + 0.5))


def test_shell_tables_round_and_floor() -> None:
    nearest = shells.squared_radius_shells(30, 2.0)
    floor = shells.squared_radius_shells(30, 2.0, "floor")
    for squared in range(31):
        radius = np.sqrt(squared) / 2.0
        assert nearest[squared] == shells.round_half_away_int(radius)
        assert floor[squared] == int(radius)


def test_centred_chunks_cover_the_array_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shells, "_CHUNK_VOXELS", 400)
    radius = 6
    chunks = list(shells.centred_z_chunks(radius))
    assert len(chunks) > 3
    whole = np.concatenate([squared for _, squared in chunks])
    k = np.arange(-radius - 1, radius + 2)
    np.testing.assert_array_equal(
        whole, k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(radius + 2) ** 2
    )
    assert [planes.start for planes, _ in chunks[1:]] == [planes.stop for planes, _ in chunks[:-1]]


def test_shell_means_of_a_shell_function_return_it() -> None:
    n = 20
    index = shells.half_transform_shells(n)
    values = 3.0 * index + 1.0
    means = shells.shell_means(values, index, n // 2 + 1)
    np.testing.assert_allclose(means, 3.0 * np.arange(n // 2 + 1) + 1.0)
    assert shells.shell_means(values, index, 40)[39] == 0.0


def test_resolutions() -> None:
    assert shells.resolution_of_shell(0, 100, 2.0) == 999.0
    np.testing.assert_allclose(shells.resolution_of_shell(np.array([1, 50]), 100, 2.0), [200, 4])
    assert shells.shell_of_resolution(1 / 60.0, 256, 1.2156) == 5
    assert shells.shell_of_resolution(1 / 60.0, 360, 1.34) == 8
