"""The orientations of a batch's search on the device, where all lists are made from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.search_space import SearchSpace

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["DeviceSpace"]


@dataclass(frozen=True)
class DeviceSpace:
    """A `SearchSpace` on the device.

    Attributes
    ----------
    is_dense
        All images share one list of orientations.
    n_orientations
        int64, (n_images,); length of each image's list, in host memory.
    counts, prior_base
        int32 device arrays, (n_images,); the same, and where each image's log-priors start.
    log_prior
        real device array.
    n_entries
        Listed orientations.
    classes, directions, psis
        int32 device arrays, (n_entries,), addressed as in `SearchSpace`.
    """

    is_dense: bool
    n_orientations: NDArray[np.int64]
    counts: Array
    prior_base: Array
    log_prior: Array
    n_entries: int
    classes: Array
    directions: Array
    psis: Array

    @classmethod
    def upload(cls, session: DeviceSession, space: SearchSpace) -> DeviceSpace:
        """Copy a search space to the device.

        Raises
        ------
        DeviceMemoryError
        """
        return cls(
            space.is_dense,
            space.n_orientations,
            session.to_device(space.n_orientations, np.int32),
            session.to_device(space.prior_base, np.int32),
            session.to_device(space.log_prior, session.real),
            len(space.orientation_class),
            session.to_device(space.orientation_class, np.int32),
            session.to_device(space.orientation_dir, np.int32),
            session.to_device(space.orientation_psi, np.int32),
        )

    def with_images(
        self,
        session: DeviceSession,
        n_orientations: NDArray[np.int64],
        prior_base: NDArray[np.int64],
    ) -> DeviceSpace:
        """Return the same orientations for other images."""
        return replace(
            self,
            n_orientations=n_orientations,
            counts=session.to_device(n_orientations, np.int32),
            prior_base=session.to_device(prior_base, np.int32),
        )
