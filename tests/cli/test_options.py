"""Values, ranges and the rules between options. Specification E 7.1, 6.6."""

from typing import get_args

import pytest

from clrelion.errors import OptionsError
from clrelion.options import RefineOptions, flag_of, flags
from clrelion.options.byte_size import byte_size
from clrelion.orientations.symmetry import PointGroup

START = {"particles_star": "p.star", "output_root": "out/run", "reference": "ref.mrc"}


def options(**values: object) -> RefineOptions:
    return RefineOptions.from_values({**START, **values})


def test_defaults_are_relions() -> None:
    found = options()
    assert found.n_iterations == 50
    assert found.tau2_fudge == 1.0
    assert found.healpix_order == 2
    assert found.offset_range_px == 6.0
    assert found.sigma_offset_angst == 10.0
    assert found.min_sigma2_offset_angst2 == 2.0
    assert found.adaptive_fraction == 0.999
    assert found.padding == 2.0
    assert found.auto_local_healpix_order == 4
    assert found.width_mask_edge_px == 5
    assert found.incr_size == 10
    assert found.minres_map == 5
    assert found.symmetry == "C1"
    assert found.random_seed is None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ini_high_angst", "-1", None),
        ("ini_high_angst", "0", None),
        ("ini_high_angst", "40", 40.0),
        ("particle_diameter_angst", -1, None),
        ("random_seed", "-1", None),
        ("random_seed", "0", 0),
        ("n_iterations", "-1", 50),
        ("tau2_fudge", "-1", 1.0),
        ("solvent_mask", "None", None),
        ("symmetry", "d2", "D2"),
        ("symmetry", "i", "I"),
        ("memory_limit_bytes", "512", 512 * 10**6),
        ("memory_limit_bytes", "1.5G", 1500 * 10**6),
        ("memory_limit_bytes", "12 GiB", 12 * 2**30),
        ("memory_limit_bytes", "-1", None),
    ],
)
def test_relions_spellings_of_values(name: str, value: object, expected: object) -> None:
    assert getattr(options(**{name: value}), name) == expected


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("healpix_order", "11", "--healpix_order 11: not allowed; allowed: a whole number, at lea"),
        ("oversampling", "-1", "at least 0, at most 4"),
        ("precision", "half", "--precision half: not allowed; allowed: single, double"),
        ("tau2_fudge", "0", "--tau2_fudge 0: not allowed; allowed: a number, above 0"),
        ("perturb", "1.5", "at least 0, at most 1"),
        ("n_threads", "two", "--j two: not allowed; allowed: a whole number"),
        ("offset_step_px", "nan", "--offset_step nan: not allowed"),
        ("symmetry", "C4v", "--sym: unknown point group 'C4v'; allowed: Cn, Dn"),
        ("symmetry", "I5", "allowed: .*I1, I2, I3, I4"),
        ("symmetry", "C1,C4", "unknown point group"),
        ("memory_limit_bytes", "lots", "--memory_limit lots: not allowed"),
        ("width_mask_edge_px", "-1", "--maskedge -1: not allowed; allowed: a whole number, at lea"),
        ("adaptive_fraction", "0", "--adaptive_fraction 0: not allowed; allowed: a number, abo"),
        ("adaptive_fraction", "1.5", "above 0, at most 1"),
        ("max_significant", "2.5", "--maxsig 2.5: not allowed; allowed: a whole number"),
        ("n_classes", "0", "--K 0: not allowed; allowed: a whole number, at least 1"),
        ("no_such", "1", "there is no option 'no_such'"),
    ],
)
def test_wrong_value_names_the_flag_and_what_is_allowed(
    name: str, value: str, message: str
) -> None:
    with pytest.raises(OptionsError, match=message):
        options(**{name: value})


NUMBERS = [
    name
    for name, field in RefineOptions.model_fields.items()
    if {int, float} & {field.annotation, *get_args(field.annotation)}
]


@pytest.mark.parametrize("name", NUMBERS)
def test_text_for_a_number_names_the_flag_and_what_is_allowed(name: str) -> None:
    with pytest.raises(OptionsError, match=f"{flag_of(name)} many: not allowed; allowed: a "):
        options(**{name: "many"})


@pytest.mark.parametrize("name", ["C1", "C7", "D2", "D12", "T", "O", "I", "I1", "I2", "I3", "I4"])
def test_allowed_point_groups_exist(name: str) -> None:
    assert len(PointGroup.from_name(options(symmetry=name).symmetry).operators) >= 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"particles_star": ""}, "--i is missing"),
        ({"output_root": ""}, "--o is missing"),
        ({"reference": None}, "--ref is missing"),
        ({"auto_refine": True}, "--auto_refine needs --split_random_halves"),
        ({"split_random_halves": True, "n_classes": 2}, "--K 2 with --split_random_halves"),
        ({"auto_sampling": True, "skip_rotate": True}, "--skip_rotate with --auto_refine or"),
        ({"solvent_correct_fsc": True}, "--solvent_correct_fsc needs --solvent_mask"),
        ({"solvent_mask2": "m.mrc"}, "--solvent_mask2 needs --solvent_mask"),
        ({"force_converge": True}, "--force_converge needs --continue"),
        ({"join_random_halves": True}, "--join_random_halves needs --continue"),
    ],
)
def test_contradictions_are_errors(values: dict[str, object], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        options(**values)


def test_what_follows_from_options() -> None:
    refine = options(auto_refine=True, split_random_halves=True, auto_iter_max=7, n_iterations=3)
    assert refine.max_iterations == 7
    assert options(n_iterations=3).max_iterations == 3
    both = options(norm=True, no_norm=True, scale=True)
    assert not both.do_norm_correction
    assert both.do_scale_correction
    assert not options(only_flip_phases=True, ctf_phase_flipped=True).do_only_flip_phases
    assert options(only_flip_phases=True).do_only_flip_phases


def test_notices_name_what_has_no_effect() -> None:
    halves = {"auto_refine": True, "split_random_halves": True}
    text = "\n".join(options(**halves, tau2_fudge=2, n_iterations=9, center_classes=True).notices())
    assert "inflates the resolution" in text
    assert "--iter has no effect" in text
    assert "--center_classes has no effect" in text
    assert "neither --norm nor --scale" in text
    assert options(norm=True, scale=True).notices() == []


def test_options_cannot_change_later() -> None:
    with pytest.raises(ValueError, match="frozen"):
        options().n_classes = 4  # type: ignore[misc]


def test_model_round_trip() -> None:
    first = options(symmetry="O", memory_limit_bytes="2G", ini_high_angst=30, norm=True)
    assert RefineOptions.from_values(first.model_dump()) == first


class TestContinue:
    """What counts with --continue: Specification E 6.6."""

    stored = {  # noqa: RUF012
        **START, "symmetry": "C4", "healpix_order": 3, "tau2_fudge": 2.0, "ini_high_angst": 60.0,
        "firstiter_cc": True, "norm": True, "n_threads": 8, "auto_ignore_angles": True,
    }  # fmt: skip

    def merge(self, auto_refine: bool = False, **given: object) -> RefineOptions:
        command = RefineOptions.from_values({"continue_from": "run_it003_optimiser.star", **given})
        stored = dict(self.stored)
        if auto_refine:
            stored |= {"auto_refine": True, "split_random_halves": True}
        return command.continued(stored)

    def test_stored_values_count(self) -> None:
        merged = self.merge()
        assert merged.symmetry == "C4"
        assert merged.healpix_order == 3
        assert merged.norm
        assert merged.continue_from == "run_it003_optimiser.star"

    def test_first_iteration_options_are_off(self) -> None:
        assert not self.merge().firstiter_cc
        assert self.merge().ini_high_angst is None

    def test_command_line_overrides_what_it_may(self) -> None:
        merged = self.merge(tau2_fudge=4, healpix_order=4, particle_diameter_angst=150)
        assert (merged.tau2_fudge, merged.healpix_order) == (4.0, 4)
        assert merged.particle_diameter_angst == 150

    def test_sampling_is_not_overridden_in_auto_refine(self) -> None:
        assert self.merge(auto_refine=True, healpix_order=4).healpix_order == 3

    def test_stored_only_option_is_kept_with_a_warning(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("WARNING")
        assert self.merge(symmetry="D2").symmetry == "C4"
        assert "--sym has no effect with --continue" in caplog.text

    def test_command_line_only_options_never_come_from_the_file(self) -> None:
        assert self.merge().n_threads is None
        assert not self.merge().auto_ignore_angles
        assert self.merge(auto_ignore_angles=True).auto_ignore_angles


def test_every_flag_has_help_and_a_sound_unit() -> None:
    units = {"", "Å", "Å/px", "Å^2", "px", "deg", "shells", "MB", "GB", "s"}
    for name, flag in flags().items():
        assert flag.help.endswith("."), name
        assert flag.unit in units, name
        assert flag_of(name) == f"--{flag.name}"
        suffixes = {
            "Å": "_angst", "px": "_px", "deg": "_deg", "Å^2": "_angst2", "s": "_seconds",
        }  # fmt: skip
        suffix = suffixes.get(flag.unit, "")
        assert name.endswith(suffix), name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2048", 2048 * 10**6), ("12GB", 12 * 10**9), ("64 mb", 64 * 10**6), (".5T", 5 * 10**11),
        ("1.5GiB", 3 * 2**29), ("100K", 10**5), ("64MiB", 2**26),
    ],
)  # fmt: skip
def test_byte_size(text: str, expected: int) -> None:
    assert byte_size(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "0GB", "-1GB", "12 apples", "1e9", "nan", "3iB"])
def test_no_byte_size(text: str) -> None:
    with pytest.raises(ValueError, match="write a number of MB"):
        byte_size(text)
