"""Maps that stay on the device until they are finished (specification M 2.3, 4.4, E 3.4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clrelion.device.large_copies import start_reading
from clrelion.device.padded_fft import Coefficients, PaddedFFT
from clrelion.device.shell_sums import run_over_lines, run_over_voxels
from clrelion.fourier.filters import low_pass_factors

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["DeviceMap"]


@dataclass(frozen=True)
class DeviceMap:
    """A map on the device.

    Attributes
    ----------
    session
        Device.
    values
        Real device array, (N, N, N) as [z, y, x], real space, origin N//2.
    """

    session: DeviceSession
    values: Array

    def to_host(self) -> NDArray[Any]:
        """Copy to the host, in the session's precision."""
        return self.session.to_host(self.values)

    def start_writing(self, host: NDArray[Any]) -> Callable[[], None]:
        """Begin to copy to a host array, C-contiguous (N, N, N) of the session's precision.

        Returns
        -------
        callable
            Waits for it.
        """
        return start_reading(self.session, self.values, host)

    def multiply(self, mask: Array) -> None:
        """Multiply by a mask on the device, real (N, N, N), in place."""
        n = int(self.values.size)
        run_over_lines(self.session, "multiply_map", n, self.values, mask, n)

    def low_pass(self, pixel_size_angst: float, resolution_angst: float) -> bool:
        """Low-pass filter the map, in place.

        Parameters
        ----------
        pixel_size_angst
            Å/px.
        resolution_angst
            Resolution at which amplitudes are halved, Å, > 0.

        Returns
        -------
        bool
            False, and nothing is done, if the filter passes more than the sphere within Nyquist:
            its corners are the host's business (`clrelion.fourier.filters.low_pass_map`).
        """
        session, n = self.session, int(self.values.shape[0])
        radius = math.ceil(n * pixel_size_angst / resolution_angst + 1.0)
        if radius >= n // 2:
            return False
        radii = np.sqrt(np.arange(radius**2 + 1, dtype=np.float64))
        # the forward transform divides by N^3
        factors = low_pass_factors(radii, n, pixel_size_angst, resolution_angst) / float(n) ** 3
        factors_d = session.to_device(factors, session.real)
        fft = PaddedFFT(session, n, n, radius)
        edge, _, nx = fft.shape
        transform = session.empty(fft.shape, session.complex)
        fft.forward(self.values, transform)

        def fill(block: Array, part: Coefficients) -> None:
            run_over_voxels(
                session, "filter_columns", part.shape,
                transform, edge, nx, radius**2, factors_d, part.first_plane, part.n_planes,
                part.first_row, part.n_rows, part.first_column, part.n_columns, block,
            )  # fmt: skip

        fft.inverse(fill, self.values)
        return True
