"""The orientations near each particle's own are listed while the device works on the batch before.

In: particles.  Out: their search space.  Host work alone.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.search_space import SearchSpace, sparse_search_space
from clrelion.expectation.settings import ExpectationSettings
from clrelion.io.particle_table import ParticleTable

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ListsAhead"]


class ListsAhead:
    """Lists of batches in a thread; a context that ends with the thread.

    Parameters
    ----------
    settings
        Of the step; where all particles share one list, nothing is done.
    table
        Particles.
    """

    def __init__(self, settings: ExpectationSettings, table: ParticleTable) -> None:
        self._settings = settings
        self._table = table
        self._begun: dict[bytes, Future[SearchSpace]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search-space")

    def __enter__(self) -> ListsAhead:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    @property
    def are_needed(self) -> bool:
        """Particles have lists of their own."""
        return not self._settings.is_dense

    def begin(self, ids: NDArray[np.int64]) -> None:
        """Begin to list the orientations of a batch that will be asked for."""
        if self.are_needed:
            self._begun[ids.tobytes()] = self._submit(ids)

    def take(self, ids: NDArray[np.int64]) -> Future[SearchSpace] | None:
        """Give the lists of a batch, begun before or now; None where all share one."""
        if not self.are_needed:
            return None
        return self._begun.pop(ids.tobytes(), None) or self._submit(ids)

    def _submit(self, ids: NDArray[np.int64]) -> Future[SearchSpace]:
        return self._thread.submit(sparse_search_space, self._settings, self._table, ids)
