"""How far an iteration may be from RELION's, and why it may be as far as that."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Bounds:
    """Largest deviations of one iteration.

    Attributes
    ----------
    poses
        Least fraction of particles with RELION's pose.
    particles
        Least fraction that also have its Pmax to 1e-5.
    numbers
        Of other spectra, norm and log-likelihood, relative; of FSC, scale, class sizes and
        directions, absolute.
    tau2
        Of tau2, relative.
    pmax
        Of Pmax, absolute.
    maps
        Relative L2 deviation.
    only
        Names of the figures that count; None for all.
    apart_from
        Names of the figures that do not count.
    """

    poses: float
    particles: float
    numbers: float
    tau2: float
    pmax: float
    maps: float
    only: frozenset[str] | None = None
    apart_from: frozenset[str] = frozenset()

    def judges(self, name: str) -> bool:
        """Whether a figure counts."""
        return name not in self.apart_from and (self.only is None or name in self.only)


# Double: specification E, Appendix F. Single: a log-likelihood of 1e3..1e4 carries an absolute
# error of some 1e-3..1e-2 in single precision, which is the relative error of a probability; the
# largest seen are 1.8e-3 in Pmax, 1.4e-4 in a spectrum and 3e-5 in a map (docs/parity.md).
BOUNDS = {
    "double": Bounds(poses=1.0, particles=1.0, numbers=1e-5, tau2=1e-5, pmax=1e-5, maps=1e-5),
    "single": Bounds(poses=0.99, particles=0.0, numbers=5e-4, tau2=5e-4, pmax=5e-3, maps=1e-4),
}


@dataclass(frozen=True)
class Relaxation:
    """Why a run may differ by more than others, and by how much; None keeps the usual bound."""

    reason: str
    poses: float | None = None
    particles: float | None = None
    numbers: float | None = None
    tau2: float | None = None
    pmax: float | None = None
    maps: float | None = None
    only: frozenset[str] | None = None
    apart_from: frozenset[str] = frozenset()

    def relax(self, bounds: Bounds) -> Bounds:
        """Apply to the usual bounds; a relaxation that is stricter than they are has no effect."""

        def wider(usual: float, own: float | None) -> float:
            return usual if own is None else max(usual, own)

        return replace(
            bounds,
            poses=min(bounds.poses, 1.0 if self.poses is None else self.poses),
            particles=min(bounds.particles, 1.0 if self.particles is None else self.particles),
            numbers=wider(bounds.numbers, self.numbers),
            tau2=wider(bounds.tau2, self.tau2),
            pmax=wider(bounds.pmax, self.pmax),
            maps=wider(bounds.maps, self.maps),
            only=self.only,
            apart_from=self.apart_from,
        )


NOISE_FILL = Relaxation(
    "the surroundings of the particle are filled with noise from RELION's random generator "
    "(specification E 2.7); what does not depend on it is compared",
    poses=0.0,
    particles=0.0,
    only=frozenset({"sigma2_noise", "tau2", "fsc", "class sizes", "scale"}),
)
LOST_DIRECTIONS = Relaxation(
    "unperturbed, RELION loses the prior's central direction of 6 of the 92 particles to a NaN "
    "(specification E, Q25); all others are equal",
    poses=86 / 92,
    particles=86 / 92,
    only=frozenset({"tau2", "accuracy", "fsc", "class sizes", "scale"}),
)
PRINTED_PERTURBATION = Relaxation(
    "the grid goes on from the perturbation that RELION's file has, of which five or six digits",
    particles=0.0,
    pmax=5e-4,
)
PRINTED_START = Relaxation(
    "RELION's files, from which it starts, have six digits: of one particle of the 140 Pmax is off "
    "by 1.1e-5",
    particles=0.99,
    pmax=1.2e-5,
)
PRINTED_START_OF_HALVES = replace(
    PRINTED_START,
    reason=f"{PRINTED_START.reason}; tau2 is proportional to FSC/(1 - FSC) and is off by as much "
    "as a small FSC",
    tau2=7e-5,
)
ON_THE_CUT = Relaxation(
    "the box's edge lies exactly on the cut-off sphere, where RELION's last bit decides "
    "(specification E F.1, which allows 5e-3 in Pmax and 1e-3 in the map)",
    particles=0.0,
    numbers=1e-4,
    tau2=1e-4,
    pmax=5e-3,
    maps=3e-4,
)
SMALL_FSC = Relaxation(
    "tau2 is proportional to FSC/(1 - FSC): where the FSC is 0.015, the 6e-7 by which an FSC may "
    "differ (specification, Appendix F) are 4e-5 of tau2",
    tau2=4e-5,
)
