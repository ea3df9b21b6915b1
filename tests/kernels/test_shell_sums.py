"""shell_sums: pixel sums added up over Fourier shells."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, rounded, run_kernel
from tests.kernels.slice_inputs import pixel_list, pixels_by_shell
from tests.reference.shell_sums import shell_sums


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("group", [(1, 1), (16, 4), (64, 1)])
@pytest.mark.parametrize(("n_images", "size"), [(1, 30), (3, 44), (7, 10)])
def test_random_sums(
    any_session: DeviceSession, blocks: bool, group: tuple[int, int], n_images: int, size: int
) -> None:
    rng = np.random.default_rng(size)
    shell = pixel_list(size).shell
    n_shells = size // 2 + 3  # the last shells have no pixel
    shell[rng.random(len(shell)) < 0.1] = -1
    sums = rounded(any_session, rng.standard_normal((n_images, len(shell), 4)))
    start, pixel = pixels_by_shell(shell, n_shells)
    out = Output(any_session, (4, n_images, n_shells))
    given, length = sums, len(shell)
    if blocks:
        # nothing behind the end of the list may count
        padded = np.pad(
            sums, ((0, 0), (0, -length % 16), (0, 0)), constant_values=np.nan
        )
        given = np.ascontiguousarray(padded.reshape(n_images, -1, 16, 4).transpose(0, 1, 3, 2))
        length = given.shape[1]
    run_kernel(
        any_session, "shell_sums", (n_shells, n_images), group,
        given, start, pixel, length, n_shells, n_images, out, blocks=blocks,
    )  # fmt: skip
    expected = shell_sums(sums, shell, n_shells)
    tolerances.assert_close(out.read(), expected, tolerances.of_sum(any_session.real, 4 * size))
    assert np.all(out.read()[..., -2:] == 0)
