"""How many images of a batch the fine pass takes at a time.

In: the numbers of significant samples.  Out: the parts of the batch, each within the memory plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.optics_setup import OpticsSetup
from clrelion.expectation.settings import ExpectationSettings
from clrelion.expectation.weights import SignificantSamples
from clrelion.planning.step import StepPlan

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["FineRoom", "stores_shifted"]

_ROW_BYTES = 96
"""Of the lists of the fine pass and of the sums, a fine orientation."""
_MOST_ENTRIES = 2**31
"""Lists are numbered by 32 bits."""
_COPIED_VALUES, _FACTORS, _PACKED_VALUES, _PIXEL_SUMS = 6, 3, 5, 4
"""Of an image of a part, a listed pixel: transforms and CTF, factors of the sums, these in blocks,
sums by pixel."""


def stores_shifted(session: DeviceSession) -> bool:
    """Whether images are shifted once, and stored with every fine translation, to be compared.

    On CPUs; graphics cards shift them faster than they read them (docs/performance.md).
    """
    return session.is_cpu


class FineRoom:
    """Divides a batch into parts.

    Parameters
    ----------
    has_table
        All fine slices are there already.
    """

    def __init__(
        self,
        session: DeviceSession,
        settings: ExpectationSettings,
        setup: OpticsSetup,
        plan: StepPlan,
        significant: SignificantSamples,
        has_table: bool,
    ) -> None:
        n_images = len(significant.n_significant)
        real_bytes = np.dtype(session.real).itemsize
        slice_bytes = 2 * setup.fine.pixels.n_padded * real_bytes
        n_stored = len(setup.fine.translations_px) if stores_shifted(session) else 1
        shifted = np.full(n_images, n_stored * slice_bytes)
        rows = np.diff(significant.block_start) * settings.n_child_orientations
        samples = np.diff(significant.sample_start)
        samples = samples * settings.n_child_orientations * settings.n_child_translations
        slices = rows * (0 if has_table else slice_bytes)
        kept_lists = samples * (real_bytes + np.dtype(np.int32).itemsize)
        listed = setup.pixels.n * real_bytes
        images = (_COPIED_VALUES + _FACTORS + _PACKED_VALUES + _PIXEL_SUMS) * listed
        total = slices + samples * real_bytes + kept_lists + rows * _ROW_BYTES + shifted + images
        largest = plan.largest_bytes
        self._limits = [
            _running(values, limit)
            for values, limit in [
                (total, plan.fine_bytes),
                (slices, largest),
                (samples * real_bytes, largest),
                (shifted, largest),
                (np.full(n_images, max(_PACKED_VALUES, _PIXEL_SUMS) * listed), largest),
                (rows, _MOST_ENTRIES - 1),
                (samples, _MOST_ENTRIES - 1),
            ]
        ]

    def part_end(self, first: int) -> int:
        """Last image (exclusive) of the largest part from ``first`` on; at least one image."""
        ends = [
            int(np.searchsorted(sums, sums[first] + limit, side="right")) - 1
            for sums, limit in self._limits
        ]
        return max(first + 1, min(ends))


def _running(values: NDArray[np.int64], limit: int) -> tuple[NDArray[np.int64], int]:
    """Sum over the images before each, (n + 1,), and how much of it a part may have."""
    return np.concatenate([[0], np.cumsum(values)]), limit
