"""References in Fourier space that are made on the device and stay there.

In: the maps of a model.  Out: one device array with the centred half transforms of all classes, and
their power spectra: the twin of `clrelion.expectation.reference` (specification E 1.6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clrelion.device.padded_fft import PaddedFFT
from clrelion.device.shell_sums import run_over_voxels, start_sum_by_shell
from clrelion.errors import NumericalError
from clrelion.expectation.reference import ReferenceTransform
from clrelion.fourier.padded import padded_size_of
from clrelion.fourier.shells import round_half_away_int, shell_bounds

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["DeviceReferenceTransform", "reference_transforms_on_device"]


class DeviceReferenceTransform(ReferenceTransform):
    """Oversampled transform of one reference on the device.

    Parameters
    ----------
    session
        Device.
    stack
        Complex device array, (K, 2(P+1)+1, 2(P+1)+1, P+2): the centred half arrays of all classes,
        zeros where a class is dead.
    place
        Which of them is this one.
    padding_factor, r_max, ori_size
        As in `ReferenceTransform`; its ``data`` are copied to the host each time they are asked
        for.
    find_spectrum
        Waits for the ``power_spectrum``, which nothing on the device depends on.
    """

    stack: Array
    _session: DeviceSession
    _place: int
    _find_spectrum: Callable[[], NDArray[np.float64]]

    def __init__(
        self,
        session: DeviceSession,
        stack: Array,
        place: int,
        padding_factor: float,
        r_max: int,
        ori_size: int,
        find_spectrum: Callable[[], NDArray[np.float64]],
    ) -> None:
        values = vars(self)  # the base class is frozen
        values.update(
            stack=stack, padding_factor=padding_factor, r_max=r_max, ori_size=ori_size
        )
        values["_session"], values["_place"] = session, place
        values["_find_spectrum"] = find_spectrum

    @property
    def data(self) -> NDArray[Any]:
        """The centred half array, copied to the host."""
        row = self._session.copy_rows(self.stack, self._place, self._place + 1)
        return np.asarray(self._session.to_host(row)[0])

    @cached_property
    def power_spectrum(self) -> NDArray[np.float64]:
        """float64, (N/2+1,); mean |F|^2/2 of each shell, 0 beyond R.

        Raises
        ------
        NumericalError
            If the map holds NaN or infinity.
        """
        return self._find_spectrum()

    @property
    def padded_radius(self) -> int:
        """P = rnd(R p), padded Fourier pixels."""
        return int(self.stack.shape[3]) - 2


def reference_transforms_on_device(
    session: DeviceSession,
    maps: Sequence[NDArray[Any] | None],
    padding_factor: float,
    r_max: int,
    *,
    first_shell: int = -1,
) -> list[DeviceReferenceTransform | None]:
    """Prepare the maps of a model for projection.

    Parameters
    ----------
    maps
        Real, (N, N, N) as [z, y, x], real space, origin N//2, one a class; None for a dead class.
        Not to be changed before the device has done what it is given here.
    padding_factor, r_max, first_shell
        As for `clrelion.expectation.reference.reference_transform`.

    Returns
    -------
    list
        None for dead classes.

    Notes
    -----
    Specification E 1.6, F.2, F.6; M 2.4; in the session's precision, spectra in double.
    """
    alive = [volume for volume in maps if volume is not None]
    if not alive:
        return [None] * len(maps)
    n = alive[0].shape[0]
    padded_size = padded_size_of(n, padding_factor)
    factor = padded_size / n
    radius = round_half_away_int(factor * r_max)
    fft = PaddedFFT(session, n, padded_size, radius)
    make = session.empty if len(alive) == len(maps) else session.zeros
    stack = make((len(maps), *fft.shape), session.complex)
    factors_d = session.to_device(_map_factors(n, factor), session.real)
    result: list[DeviceReferenceTransform | None] = []
    for place, volume in enumerate(maps):
        if volume is None:
            result.append(None)
            continue
        volume_d = session.to_device(volume, session.real, lasts=True)
        run_over_voxels(session, "scale_map", (n, n, n), volume_d, n, factors_d)
        start = place * int(np.prod(fft.shape))
        fft.forward(volume_d, stack, start)
        del volume_d
        edge, _, nx = fft.shape
        lowest = int(radius == padded_size // 2)
        run_over_voxels(
            session, "clear_shells", fft.shape, stack, start, edge, nx, -1, radius**2, lowest
        )
        spectrum = _start_power_spectrum(session, stack, start, radius, factor, n, lowest > 0)
        if first_shell >= 0:
            inner = round_half_away_int(factor * first_shell) ** 2
            run_over_voxels(
                session, "clear_shells", fft.shape, stack, start, edge, nx, inner, radius**2, lowest
            )
        result.append(DeviceReferenceTransform(session, stack, place, factor, r_max, n, spectrum))
    return result


@lru_cache(maxsize=2)
def _map_factors(n: int, factor: float) -> NDArray[np.float64]:
    """Scale and correction for gridding of a map's voxels by squared radius."""
    radii = np.sqrt(np.arange(3 * (n // 2) ** 2 + 1, dtype=np.float64))
    # factor^3 N / N_p^3: the forward division and the slice-theorem scale in one number
    factors = 1.0 / (np.sinc(radii / (n * factor)) ** 2 * float(n) ** 2)
    factors.setflags(write=False)  # all references get the same ones
    return factors


def _start_power_spectrum(
    session: DeviceSession,
    stack: Array,
    start: int,
    radius: int,
    factor: float,
    ori_size: int,
    lacks_negative_nyquist: bool,
) -> Callable[[], NDArray[np.float64]]:
    """Average |F|^2/2 over the shells of the stored sphere (specification E 1.6.5, F.6)."""
    n_shells = ori_size // 2 + 1
    edge, nx = int(stack.shape[1]), int(stack.shape[3])
    bounds = shell_bounds(n_shells, radius**2 + 1, factor)
    started = start_sum_by_shell(
        session, "shell_power", n_shells, edge, 2,
        stack, start, edge, nx, session.to_device(bounds), n_shells,
    )  # fmt: skip

    def spectrum() -> NDArray[np.float64]:
        sums, counts = started()
        if not np.isfinite(sums).all():
            raise NumericalError(
                "a reference map holds NaN or infinity; check the input map and the particles"
            )
        if lacks_negative_nyquist and bounds[-1] == radius**2 + 1:
            outermost = int(np.searchsorted(bounds, radius**2, side="right")) - 1
            counts[outermost] -= 2
        found = np.zeros(n_shells)
        np.divide(0.5 * sums, counts, out=found, where=counts > 0)
        return found

    return spectrum
