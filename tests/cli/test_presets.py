"""``clrelion refine3d`` and ``class3d``: defaults, how to leave them, examples."""

from __future__ import annotations

import importlib
import shlex

import pytest

from clrelion.cli.main import COMMANDS
from clrelion.cli.parser import build_parser, parse_refine
from clrelion.cli.presets import CLASS3D, REFINE3D, Preset
from clrelion.errors import OptionsError
from clrelion.options import RefineOptions

START = "--i p.star --ref r.mrc --o out/run --particle_diameter 200 --sym D2"
# What RELION 3.1.3's pipeliner runs for its own jobs with everything else left as it is.
RELION_REFINE3D = (
    "--o out/run --auto_refine --split_random_halves --i p.star --ref r.mrc --firstiter_cc "
    "--ini_high 60 --dont_combine_weights_via_disc --pool 3 --pad 2 --skip_gridding --ctf "
    "--particle_diameter 200 --flatten_solvent --zero_mask --oversampling 1 --healpix_order 2 "
    "--auto_local_healpix_order 4 --offset_range 5 --offset_step 2 --sym D2 "
    "--low_resol_join_halves 40 --norm --scale"
)
RELION_CLASS3D = (
    "--o out/run --i p.star --ref r.mrc --firstiter_cc --ini_high 60 "
    "--dont_combine_weights_via_disc --pool 3 --pad 2 --skip_gridding --ctf --iter 25 "
    "--tau2_fudge 4 --particle_diameter 200 --K 2 --flatten_solvent --zero_mask --oversampling 1 "
    "--healpix_order 2 --offset_range 5 --offset_step 2 --sym D2 --norm --scale"
)


def options(text: str, preset: Preset | None = None) -> RefineOptions:
    return parse_refine(shlex.split(text), "clrelion", preset).options


@pytest.mark.parametrize(
    ("short", "preset", "relions"),
    [(START, REFINE3D, RELION_REFINE3D), (f"{START} --K 2", CLASS3D, RELION_CLASS3D)],
)
def test_defaults_are_those_of_relions_window(short: str, preset: Preset, relions: str) -> None:
    assert options(short, preset) == options(relions)


def test_what_is_given_counts() -> None:
    found = options(f"{START} --ini_high 20 --healpix_order 3", REFINE3D)
    assert (found.ini_high_angst, found.healpix_order) == (20, 3)


def test_switches_are_switched_off() -> None:
    found = options(f"{START} --no_ctf --no_firstiter_cc --no_scale", REFINE3D)
    assert not found.ctf
    assert not found.firstiter_cc
    assert not found.do_scale_correction
    assert found.zero_mask
    assert found.do_norm_correction


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--no_ctf --ctf", "give one of the two"),
        ("--no_auto_refine", "unknown option '--no_auto_refine'"),
        ("--no_zeromask", "did you mean --no_zero_mask"),
    ],
)
def test_mistakes(more: str, said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        options(f"{START} {more}", REFINE3D)


def test_no_preset_no_switches() -> None:
    with pytest.raises(OptionsError, match="--no_ctf"):
        options(f"{START} --no_ctf")


def test_a_continued_run_keeps_its_own_options() -> None:
    found = options("--continue run_it003_optimiser.star --iter 30", CLASS3D)
    assert found.model_fields_set == {"continue_from", "n_iterations"}


@pytest.mark.parametrize("preset", [REFINE3D, CLASS3D])
def test_examples_are_valid_and_shown(preset: Preset) -> None:
    commands = [
        line.split(" ", 2)[2]
        for line in preset.examples.replace("\\\n", " ").splitlines()
        if line.strip().startswith("clrelion")
        for line in [line.strip()]
    ]
    assert len(commands) >= 3
    for command in commands:
        options(command, preset)
    text = build_parser("clrelion x", preset).format_help()
    assert text.endswith(preset.examples)
    assert "[60 Å]" in text
    assert "[on; --no_ctf switches it off]" in " ".join(text.split())


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_shows_examples(name: str) -> None:
    command = COMMANDS[name]
    parser = getattr(importlib.import_module(command.module), command.parser)()
    examples = parser.epilog or ""
    if name == "refine":  # RELION's own command line; refine3d and class3d have the examples
        return
    assert examples.startswith("examples:"), name
    assert f"clrelion {name}" in examples
