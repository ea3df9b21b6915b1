"""RELION's grammar: what is taken, mapped, ignored and refused. Specification E 7."""

import shlex

import pytest

from clrelion.cli.parser import ParsedCommand, build_parser, is_switch, parse_refine
from clrelion.cli.relion_flags import DEVICE_FLAGS, IGNORED, REFUSED, device_of_gpu_list
from clrelion.errors import OptionsError
from clrelion.options import flags
from tests.reference.paper_commands import PAPER_COMMANDS

MINIMUM = "--i particles.star --o Refine3D/run --ref ref.mrc --norm --scale"

def parse(text: str) -> ParsedCommand:
    return parse_refine(shlex.split(f"{MINIMUM} {text}"))


@pytest.mark.parametrize("name", PAPER_COMMANDS)
def test_command_of_the_paper_parses(name: str) -> None:
    text = PAPER_COMMANDS[name]
    options = parse_refine(shlex.split(text)).options
    assert options.ctf
    assert options.flatten_solvent
    assert options.do_norm_correction
    assert options.do_scale_correction
    assert options.oversampling == 1
    assert options.auto_refine == ("auto-refine" in name)
    assert f"--sym {options.symmetry}" in text
    assert f"--angpix {options.pixel_size_angst:g}" in text
    assert options.device == "auto"
    if not options.auto_refine:
        assert f"--K {options.n_classes} " in text
        assert options.max_iterations == 25
    else:
        assert options.max_iterations == 999


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("--tau_fudge 4", "--tau2_fudge"),
        ("--symm C4", "--sym"),
        ("--particle_diam 200", "--particle_diameter"),
        ("--k 3", "--K"),
        ("--flaten_solvent", "--flatten_solvent"),
        ("-auto_refine", "--auto_refine"),
        ("--auto_refin", "--auto_refine"),
    ],
)
def test_unknown_flag_is_an_error_that_suggests_the_nearest(given: str, nearest: str) -> None:
    with pytest.raises(OptionsError, match=f"did you mean {nearest}\\?"):
        parse(given)


def test_unlike_any_flag_points_to_help() -> None:
    with pytest.raises(OptionsError, match=r"'--qqqqqqq': see --help"):
        parse("--qqqqqqq 1")


def test_dash_pasted_from_a_document_is_named() -> None:
    with pytest.raises(OptionsError, match="not the ASCII one; write --auto_refine"):
        parse("\u2013auto_refine")


def test_value_without_option_is_an_error() -> None:
    with pytest.raises(OptionsError, match="unexpected argument 'stray'"):
        parse("--ctf stray")


def test_missing_value_is_an_error() -> None:
    with pytest.raises(OptionsError, match="--healpix_order: expected one argument"):
        parse("--healpix_order --ctf")


@pytest.mark.parametrize("name", REFUSED)
def test_out_of_scope_is_refused_by_name_with_a_reason(name: str) -> None:
    refused = REFUSED[name]
    value = "" if refused.default is None else " 17"
    with pytest.raises(OptionsError) as error:
        parse(f"--{name}{value}")
    assert str(error.value) == f"--{name}: {refused.reason}"


@pytest.mark.parametrize("name", [n for n, r in REFUSED.items() if r.default is not None])
def test_out_of_scope_default_passes_with_a_notice(name: str) -> None:
    command = parse(f"--{name} '{REFUSED[name].default}' --ctf")
    assert command.options.ctf
    assert [n for n in command.notices if n.startswith(f"--{name} ")] != []


def test_out_of_scope_default_may_be_spelled_otherwise() -> None:
    parse("--helical_nr_asu 1.0 --helical_z_percentage=0.30")
    with pytest.raises(OptionsError, match="helical reconstruction"):
        parse("--helical_z_percentage=0.35")


@pytest.mark.parametrize("flag", ["--blush", "--grad_ini_iter", "--multibody_masks", "--sgd_mu"])
def test_families_out_of_scope_are_refused(flag: str) -> None:
    with pytest.raises(OptionsError, match=f"{flag}: .* out of scope"):
        parse(f"{flag} 1")


def test_repeated_option_the_last_counts_with_a_notice() -> None:
    command = parse("--healpix_order 3 --healpix_order 1")
    assert command.options.healpix_order == 1
    assert "--healpix_order is given twice: the last one counts" in command.notices


@pytest.mark.parametrize("name", IGNORED)
def test_ignored_flag_has_one_notice_and_no_effect(name: str) -> None:
    value = " 8" if IGNORED[name].takes_value else ""
    command = parse(f"--{name}{value}")
    assert command.options == parse("").options
    assert [n for n in command.notices if n.startswith(f"--{name} ")] == [
        f"--{name} has no effect: {IGNORED[name].note}"
    ]


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("", "gpu"),
        ("0", "gpu:0"),
        ("0:1:2:3", "gpu:0,gpu:1,gpu:2,gpu:3"),
        ("0,1:2", "gpu:0,gpu:1,gpu:2"),
        ("0:0", "gpu:0"),
        ("0:0:1:1", "gpu:0,gpu:0,gpu:1,gpu:1"),
        ("0,1:0,1", "gpu:0,gpu:1"),
        ("2,3", "gpu:2,gpu:3"),
    ],
)
def test_gpu_list_becomes_a_device(text: str, device: str) -> None:
    assert device_of_gpu_list(text) == device
    assert parse(f"--gpu '{text}'").options.device == device


def test_gpu_alone_before_another_option() -> None:
    command = parse("--gpu --pool 30")
    assert command.options.device == "gpu"


def test_gpu_names_are_refused() -> None:
    with pytest.raises(OptionsError, match="numbers as in 0 or 0:1"):
        parse("--gpu first")


@pytest.mark.parametrize(
    ("given", "device"),
    [
        ("--cpu", "cpu"),
        ("--sycl-cpu", "cpu"),
        ("--sycl", "auto"),
        ("--sycl-cuda", "gpu"),
        ("--mode 0", "cpu"),
        ("--mode 1", "auto"),
        ("--mode 1 --gpu 1", "gpu:1"),
        ("--gpu 0 --device NVIDIA:1", "NVIDIA:1"),
        ("", "auto"),
    ],
)
def test_device_flags_of_relion(given: str, device: str) -> None:
    assert parse(given).options.device == device


def test_mode_has_two_values() -> None:
    with pytest.raises(OptionsError, match="--mode 2: not allowed; allowed: 0"):
        parse("--mode 2")


def test_every_option_survives_the_command_line() -> None:
    """Give every option on a command line and find it again in the model."""
    samples = {
        "precision": "double", "symmetry": "D7", "memory_limit_bytes": "2G", "oversampling": "2",
        "perturb": "0.25", "adaptive_fraction": "0.5", "verbosity": "2", "padding": "1.5",
        "tau2_fudge": "0.5",
    }  # fmt: skip
    samples |= {"n_classes": "1"}  # more than one is an error with half-sets
    words, expected = [], {}
    for name, flag in flags().items():
        words.append(f"--{flag.name}")
        if is_switch(name):
            expected[name] = "True"
        else:
            expected[name] = samples.get(name, "3")
            words.append(expected[name])
        if name == "skip_rotate":  # contradicts others that are given
            words.pop()
            del expected[name]
    options = parse_refine(words).options
    expected |= {"symmetry": "D7", "memory_limit_bytes": str(2 * 10**9)}
    for name, text in expected.items():
        value = getattr(options, name)
        same = float(text) == value if isinstance(value, float) else text == str(value)
        assert same, f"{name}: {text} became {value!r}"
    assert options.model_fields_set == set(expected)


def test_another_spelling_is_the_same_option() -> None:
    assert parse("--max_significants 7").options.max_significant == 7
    command = parse("--maxsig 5 --max_significants 6")
    assert command.options.max_significant == 6
    assert any("given twice" in notice for notice in command.notices)


def test_flags_are_spelled_once() -> None:
    names = [name for flag in flags().values() for name in (flag.name, *flag.aliases)]
    names += [*DEVICE_FLAGS, *IGNORED, *REFUSED]
    assert len(names) == len(set(names))


def test_help_has_groups_units_and_defaults() -> None:
    text = " ".join(build_parser("clrelion_refine").format_help().split())
    for flag in flags().values():
        assert f"--{flag.name}" in text
        assert f"{flag.group}:" in text
    assert "Low-pass filter of the start reference. [Å; off]" in text
    assert "Radius of the shift search. [6 px]" in text
    assert "Order from which searches are local. [4]" in text
