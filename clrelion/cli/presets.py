"""``clrelion refine3d`` and ``class3d``: the options of a refinement with recommended defaults.

The defaults are what RELION's own windows *3D auto-refine* and *3D classification* put on the
command line for an unfiltered reference that is not on the scale of the data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clrelion.errors import OptionsError
from clrelion.options import flags


@dataclass(frozen=True)
class Preset:
    """Defaults of a kind of job.

    Attributes
    ----------
    purpose
        First sentence of ``--help``.
    values
        Fields of the options and their values.
    kind
        Fields that make the job what it is: they cannot be switched off.
    examples
        End of ``--help``.
    """

    purpose: str
    values: Mapping[str, object]
    kind: frozenset[str] = frozenset()
    examples: str = field(default="", repr=False)

    def switches(self) -> dict[str, str]:
        """Flags ``no_X`` that switch a default off, and their fields (norm and scale have own)."""
        return {
            f"no_{flags()[name].name}": name
            for name, value in self.values.items()
            if value is True and name not in self.kind and f"no_{flags()[name].name}" not in OWN_NO
        }


OWN_NO = frozenset({"no_norm", "no_scale"})
"""Switches that RELION has itself."""

_COMMON: dict[str, object] = {
    "firstiter_cc": True,
    "ini_high_angst": 60.0,
    "ctf": True,
    "flatten_solvent": True,
    "zero_mask": True,
    "norm": True,
    "scale": True,
    "oversampling": 1,
    "healpix_order": 2,
    "offset_range_px": 5.0,
    "offset_step_px": 2.0,
    "padding": 2.0,
}

REFINE3D = Preset(
    purpose="Gold-standard 3D auto-refine to the highest resolution, with recommended defaults.",
    values={
        **_COMMON,
        "auto_refine": True,
        "split_random_halves": True,
        "auto_local_healpix_order": 4,
        "low_resol_join_halves_angst": 40.0,
    },
    kind=frozenset({"auto_refine", "split_random_halves"}),
    examples="""\
examples:
  # a new refinement: particles, start map, diameter of the particle, symmetry
  clrelion refine3d --i particles.star --ref ref.mrc --o Refine3D/job001/run \\
    --particle_diameter 200 --sym D2

  # the start map was reconstructed from these data, and is filtered to 40 A
  clrelion refine3d --i particles.star --ref run_class001.mrc --o Refine3D/job002/run \\
    --particle_diameter 200 --sym D2 --ini_high 40 --no_firstiter_cc

  # with a mask, and the resolution measured within it
  clrelion refine3d --i particles.star --ref ref.mrc --o Refine3D/job003/run \\
    --particle_diameter 200 --solvent_mask mask.mrc --solvent_correct_fsc

  # start from known poses: local searches of 1.8 degrees only
  clrelion refine3d --i run_data.star --ref run_class001.mrc --o Refine3D/job004/run \\
    --particle_diameter 200 --healpix_order 4 --ini_high 10 --no_firstiter_cc

  # go on with a run that was stopped (its own options count)
  clrelion refine3d --continue Refine3D/job001/run_it008_optimiser.star
""",
)

CLASS3D = Preset(
    purpose="3D classification, with recommended defaults.",
    values={**_COMMON, "n_iterations": 25, "tau2_fudge": 4.0},
    examples="""\
examples:
  # four classes from one start map
  clrelion class3d --i particles.star --ref ref.mrc --o Class3D/job001/run \\
    --K 4 --particle_diameter 200

  # one start map for each class: refs.star lists them in the column rlnReferenceImage
  clrelion class3d --i particles.star --ref refs.star --o Class3D/job002/run \\
    --K 2 --particle_diameter 200 --ini_high 50

  # keep the poses of a refinement, look for differences within a mask
  clrelion class3d --i run_data.star --ref run_class001.mrc --o Class3D/job003/run --K 6 \\
    --skip_align --particle_diameter 200 --solvent_mask mask.mrc --tau2_fudge 20 \\
    --ini_high 10 --no_firstiter_cc

  # ten iterations more
  clrelion class3d --continue Class3D/job001/run_it025_optimiser.star --iter 35
""",
)


def without_switched_off(
    arguments: Sequence[str], preset: Preset | None
) -> tuple[list[str], dict[str, object]]:
    """Take the ``--no_X`` of a preset out of the arguments.

    Parameters
    ----------
    arguments
        Without the program's name.
    preset
        None: nothing is preset, ``--no_X`` is left for the parser.

    Returns
    -------
    arguments
        The others.
    values
        What remains preset; empty with ``--continue``, where the stored run's options count.

    Raises
    ------
    OptionsError
        An option is both given and switched off.
    """
    if preset is None:
        return list(arguments), {}
    values = dict(preset.values)
    switches = preset.switches()
    kept = []
    for word in arguments:
        name = switches.get(word.removeprefix("--"))
        if name is None or not word.startswith("--"):
            kept.append(word)
            continue
        if f"--{flags()[name].name}" in arguments:
            raise OptionsError(f"{word} and --{flags()[name].name}: give one of the two")
        values.pop(name, None)
    if any(word == "--continue" or word.startswith("--continue=") for word in arguments):
        values.clear()
    return kept, values
