"""The acceptance figures of issues 2 and 3, and whether a measured run meets them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Verdict:
    """One acceptance figure.

    Attributes
    ----------
    issue
        Its number.
    what
        What is asked for.
    found, limit
        Measured value and the bound.
    passes
        Whether it is met.
    """

    issue: int
    what: str
    found: float
    limit: float
    passes: bool


def at_most(issue: int, what: str, found: float, limit: float) -> Verdict:
    """Judge a figure that must not be larger."""
    return Verdict(issue, what, found, limit, found <= limit)


def at_least(issue: int, what: str, found: float, limit: float) -> Verdict:
    """Judge a figure that must not be smaller."""
    return Verdict(issue, what, found, limit, found >= limit)


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    """Judge one measured run.

    Parameters
    ----------
    result
        Of ``set_measures.measure_set``.
    """
    return [*_for_all(result), *_OF_SET[result["set"]](result)]


def _for_all(result: dict[str, Any]) -> Iterator[Verdict]:
    shells = result["spectra"]["shell"]
    yield at_most(
        3,
        "resolution: Fourier shells from RELION's",
        abs(shells["clrelion"] - shells["RELION"]),
        1,
    )
    maps = result["maps"]
    for i, (own, relion) in enumerate(
        zip(maps.get("with truth", []), maps.get("RELION's with truth", []), strict=True)
    ):
        yield at_least(
            3,
            f"mean FSC of map {i + 1} with the truth (RELION's less 0.005)",
            own["mean"],
            relion["mean"] - 0.005,
        )
    errors = result.get("poses against truth")
    if errors:
        for key, name, unit in (("angle_deg", "angle", "deg"), ("shift_angst", "shift", "Å")):
            for i, quantile in enumerate(("median", "p90")):
                yield at_most(
                    3,
                    f"error of the {name}, {quantile}, {unit} (RELION's and 10 %)",
                    errors["clrelion"][key][i],
                    1.1 * errors["RELION"][key][i],
                )


def _fsc_at_resolution(result: dict[str, Any]) -> Verdict:
    curve = result["maps"]["with RELION"][0]["curve"]
    shell = result["spectra"]["shell"]["clrelion"]
    return at_least(3, "FSC with RELION's map at the resolution found", curve[shell], 0.97)


def had_the_cpus_to_itself(run: dict[str, Any]) -> bool:
    """Whether the program got most of the CPUs; if not, its run time says nothing about it."""
    share = run["cpu_seconds"] / (run["seconds"] * run["n_cpus"])
    return bool(share >= _LEAST_SHARE)


def _time_on_the_cpu(result: dict[str, Any], limit: float) -> Iterator[Verdict]:
    run = result["run"]
    if run["device_kind"] == "cpu" and had_the_cpus_to_itself(run):
        yield at_most(2, "run time on the CPU, s", run["seconds"], limit)


def _betagal(result: dict[str, Any]) -> Iterator[Verdict]:
    yield at_most(2, "resolution, Å", result["spectra"]["resolution"]["clrelion"], 18.3)
    curve = result["maps"]["with RELION, no mask"][0]["curve"]
    last = result["maps"]["shell of 20 A"]
    yield at_least(
        2, "least FSC with RELION's map, no mask, down to 20 Å", min(curve[1 : last + 1]), 0.90
    )
    yield from _time_on_the_cpu(result, 60)


def _polii(result: dict[str, Any]) -> Iterator[Verdict]:
    yield at_most(2, "resolution, Å", result["spectra"]["resolution"]["clrelion"], 8.53)
    angle = result["poses against truth"]["clrelion"]["angle_deg"]
    yield at_most(2, "error of the angle, median, deg", angle[0], 1.1)
    yield at_most(2, "error of the angle, p90, deg", angle[1], 2.0)
    yield at_least(2, "mean FSC with the truth", result["maps"]["with truth"][0]["mean"], 0.927)
    yield from _time_on_the_cpu(result, 25 * 60)
    if "H200" in result["run"]["device"]:
        yield at_most(2, "run time on an H200, s", result["run"]["seconds"], 40)
    yield _fsc_at_resolution(result)


def _trpv1(result: dict[str, Any]) -> Iterator[Verdict]:
    yield _fsc_at_resolution(result)


def _two_states(result: dict[str, Any]) -> Iterator[Verdict]:
    yield at_least(2, "particles in the right class", result["classes"]["truth"], 1434)


_OF_SET = {
    "betagal80": _betagal,
    "polii64": _polii,
    "trpv1_96": _trpv1,
    "polii_k2_64": _two_states,
}
