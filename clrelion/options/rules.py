"""The options of one run: the table, the rules between options, and what follows from them."""

import functools
import logging
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from annotated_types import BaseMetadata, Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from clrelion.errors import OptionsError
from clrelion.options.flags import Flag
from clrelion.options.table import OptionTable

logger = logging.getLogger(__name__)

_MINUS_ONE_IS_DEFAULT = frozenset({"n_iterations", "tau2_fudge", "n_particles_sigma2_noise"})


@functools.cache
def flags() -> dict[str, Flag]:
    """Return the flag of every option, by field name, in the order of the table."""
    return {
        name: next(m for m in field.metadata if isinstance(m, Flag))
        for name, field in OptionTable.model_fields.items()
    }


def flag_of(field_name: str) -> str:
    """Return ``--flag`` of an option, given its field name."""
    return f"--{flags()[field_name].name}"


class RefineOptions(OptionTable):
    """Options of one classification or auto-refine; build with :meth:`from_values`.

    Frozen. Fields that were given explicitly are in ``model_fields_set``. The unit is the suffix
    of the name (``_angst``, ``_px``, ``_deg``); ``None`` means off or chosen by the program.
    """

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> "RefineOptions":
        """Check values, strings as on a command line or Python objects, and the rules between them.

        Parameters
        ----------
        values
            Field names (not flags) and values; what is absent takes its default.

        Raises
        ------
        OptionsError
            A value that cannot be read or is out of range (the message names what is allowed), or
            options that contradict each other (Specification E 7.1, "Consistency rules").
        """
        given = {
            name: value
            for name, value in values.items()
            if not (name in _MINUS_ONE_IS_DEFAULT and str(value) == "-1")
        }
        try:
            options = cls.model_validate(given)
        except ValidationError as error:
            raise OptionsError(_first_mistake(error)) from None
        options._check_rules()
        return options

    def _check_rules(self) -> None:
        if self.continue_from is None:
            self._check_start()
        for name in ("force_converge", "join_random_halves"):
            if getattr(self, name) and self.continue_from is None:
                raise OptionsError(f"{flag_of(name)} needs --continue FILE_optimiser.star")
        if self.auto_refine and not self.split_random_halves and self.continue_from is None:
            raise OptionsError("--auto_refine needs --split_random_halves: add it")
        if self.split_random_halves and self.n_classes > 1:
            raise OptionsError(
                f"--K {self.n_classes} with --split_random_halves: halves are refined with one "
                "class only; drop one of the two"
            )
        if self.skip_rotate and not self.skip_align and (self.auto_refine or self.auto_sampling):
            raise OptionsError(
                "--skip_rotate with --auto_refine or --auto_sampling: there is no angular sampling "
                "to refine; drop one of them"
            )
        if self.reuse_scratch and self.scratch_dir is None:
            raise OptionsError("--reuse_scratch needs --scratch_dir DIR, where the copy is")
        if self.solvent_correct_fsc and self.solvent_mask is None:
            raise OptionsError("--solvent_correct_fsc needs --solvent_mask MAP")
        if self.solvent_mask2 is not None and self.solvent_mask is None:
            raise OptionsError("--solvent_mask2 needs --solvent_mask MAP")

    def _check_start(self) -> None:
        """Ask for what a run from scratch needs: particles, a reference, a place for output."""
        for name in ("particles_star", "output_root"):
            if not getattr(self, name):
                raise OptionsError(f"{flag_of(name)} is missing: {flags()[name].help}")
        if self.reference is None:
            raise OptionsError(
                "--ref is missing: give a start map or a STAR file of maps (refinement without a "
                "reference, --ref None, is out of scope)"
            )

    def notices(self) -> list[str]:
        """Return what a user should know about this combination, one line each."""
        found = []
        if self.auto_refine and self.tau2_fudge > 1:
            found.append("--tau2_fudge above 1 in auto-refine inflates the resolution estimate")
        if self.auto_refine and "n_iterations" in self.model_fields_set:
            found.append("--iter has no effect with --auto_refine; see --auto_iter_max")
        if self.ctf_phase_flipped and self.only_flip_phases:
            found.append("--only_flip_phases has no effect beside --ctf_phase_flipped")
        if self.center_classes and self.split_random_halves:
            found.append("--center_classes has no effect with --split_random_halves")
        if not self.do_norm_correction and not self.do_scale_correction and not self.continue_from:
            found.append("neither --norm nor --scale: no intensity corrections (usually both)")
        if {"sigma_offset_angst", "pixel_size_angst"} <= self.model_fields_set:
            found.append("--offset is in Angstrom (in RELION 1.x it was in pixels)")
        return found

    def continued(self, stored: Mapping[str, object]) -> "RefineOptions":
        """Merge the options of a stored run with those of this ``--continue`` command line.

        Parameters
        ----------
        stored
            Field names and values of the run that is continued, as far as its files hold them.

        Returns
        -------
        RefineOptions
            For each option the stored or the given value, by Specification E 6.6. The first-
            iteration options (``firstiter_cc``, ``ini_high_angst``) are off.
        """
        auto_refine = bool(stored.get("auto_refine", False))
        merged = dict(stored)
        for name in self.model_fields_set:
            rule = flags()[name].continuation
            if rule in ("command", "override") or (
                rule == "override_class3d" and not auto_refine
            ):
                merged[name] = getattr(self, name)
            elif name in stored and getattr(self, name) != stored[name]:
                logger.warning(
                    "%s has no effect with --continue: the stored run's value %s counts",
                    flag_of(name),
                    stored[name],
                )
        for name, flag in flags().items():
            if flag.continuation == "command" and name not in self.model_fields_set:
                merged.pop(name, None)
        merged.update(firstiter_cc=False, ini_high_angst=None, continue_from=self.continue_from)
        return RefineOptions.from_values(merged)

    @property
    def max_iterations(self) -> int:
        """Iterations after which the run stops in any case."""
        return self.auto_iter_max if self.auto_refine else self.n_iterations

    @property
    def do_norm_correction(self) -> bool:
        """Whether the normalisation of each particle is corrected (--no_norm wins)."""
        return self.norm and not self.no_norm

    @property
    def do_scale_correction(self) -> bool:
        """Whether intensity scales are corrected (--no_scale wins; needs two groups or more)."""
        return self.scale and not self.no_scale

    @property
    def do_only_flip_phases(self) -> bool:
        """Whether the CTF is +1 or -1 only (--ctf_phase_flipped wins)."""
        return self.only_flip_phases and not self.ctf_phase_flipped


def _first_mistake(error: ValidationError) -> str:
    """Put the first mistake that pydantic found into one line a user can act on."""
    mistake = error.errors(include_url=False)[0]
    name = str(mistake["loc"][0]) if mistake["loc"] else ""
    if name not in flags():
        return f"there is no option {name!r}"
    given = mistake.get("input")
    if mistake["type"] == "value_error":
        return f"{flag_of(name)}: {mistake['ctx']['error']}"
    allowed = describe_allowed(OptionTable.model_fields[name])
    return f"{flag_of(name)} {given}: not allowed; allowed: {allowed}"


def describe_allowed(field: FieldInfo) -> str:
    """Describe the allowed values of an option: its type and range, or its words."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(str(word) for word in get_args(field.annotation))
    kinds = [field.annotation, *get_args(field.annotation)]
    if int in kinds:
        text = "a whole number"
    elif float in kinds:
        text = "a number"
    else:
        return "text"
    return text + "".join(_limit_text(m) for m in field.metadata if isinstance(m, BaseMetadata))


def _limit_text(limit: Any) -> str:
    match limit:
        case Ge():
            return f", at least {limit.ge}"
        case Gt():
            return f", above {limit.gt}"
        case Le():
            return f", at most {limit.le}"
        case Lt():
            return f", below {limit.lt}"
    return ""
