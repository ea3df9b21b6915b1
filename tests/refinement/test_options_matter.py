"""Every option beyond the main path changes the result; what it must be, RELION's runs say.

tools/parity/oracle_cases.py compares them with a live RELION.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clrelion.io.particle_table import read_particles
from clrelion.io.run_files import read_model
from tests.reference.refine_program import (
    CLASS3D,
    changed,
    read_map,
    relative_difference,
    succeed,
    write_small_set,
)

# fine enough for the CTF to change its sign
BASE = changed(CLASS3D.replace("--firstiter_cc", ""), "--iter 1 --ini_high 15")
SAME = 1e-5
POSED = "--i posed.star"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with 12 particles, their poses in posed.star, and runs without further options."""
    place = tmp_path_factory.mktemp("options")
    write_small_set(place, 12)
    succeed(place, BASE)
    posed = (place / "out" / "run_it001_data.star").read_text()
    (place / "posed.star").write_text(posed)
    succeed(place, changed(BASE, f"{POSED} --o posed/run"))
    return place


def differences(folder: Path, first: str, second: str) -> dict[str, float]:
    """How far two runs are from each other."""
    roots = [folder / name / "run_it001" for name in (first, second)]
    maps = [read_map(Path(f"{root}_class001.mrc")) for root in roots]
    tables = [read_particles(f"{root}_data.star") for root in roots]
    models = [read_model(f"{root}_model.star") for root in roots]
    found = {"map": relative_difference(*maps)}
    for name in ("norm_correction", "pmax", "log_likelihood", "n_significant"):
        found[name] = relative_difference(*(np.asarray(getattr(t, name), float) for t in tables))
    found["tau2"] = relative_difference(*(m.tau2 for m in models))
    return found


@pytest.mark.parametrize(
    ("option", "what"),
    [
        ("--ctf_intact_first_peak", "map"),
        ("--ctf_phase_flipped", "map"),
        ("--only_flip_phases", "map"),
        ("--ctf_uncorrected_ref", "log_likelihood"),
        ("--maskedge 12", "map"),
        ("--strict_highres_exp 60", "pmax"),
        ("--strict_lowres_exp 100", "pmax"),
        ("--maxsig 2", "n_significant"),
        ("--max_significants 2", "n_significant"),
        ("--adaptive_fraction 0.5", "n_significant"),
        ("--perturb 0", "map"),
        ("--no_norm", "norm_correction"),
        ("--tau tau.star", "tau2"),
        (f"{POSED} --sigma_ang 9", "n_significant"),
        (f"{POSED} --sigma_rot 9", "n_significant"),
        (f"{POSED} --sigma_tilt 9", "n_significant"),
        (f"{POSED} --sigma_psi 9", "n_significant"),
        (f"{POSED} --skip_align", "pmax"),
        (f"{POSED} --skip_rotate", "pmax"),
    ],
)
def test_result_is_another(option: str, what: str, folder: Path) -> None:
    rows = "\n".join(f"{i} {1e-4 * 0.8**i:.6e}" for i in range(41))
    head = "data_\n\nloop_\n_rlnSpectralIndex #1\n_rlnReferenceTau2 #2\n"
    (folder / "tau.star").write_text(f"{head}{rows}\n")
    succeed(folder, changed(BASE, f"{option} --o other/run"))
    plain = "posed" if option.startswith(POSED) else "out"
    assert differences(folder, "other", plain)[what] > 1e-3


def test_scales_may_be_left_alone(folder: Path) -> None:
    for root, option in (("scaled", ""), ("unscaled", "--no_scale")):
        succeed(folder, changed(CLASS3D, f"{option} --o {root}/run"))
    on, off = (
        read_model(folder / root / "run_it002_model.star").scale_correction
        for root in ("scaled", "unscaled")
    )
    assert np.abs(on - 1).max() > 1e-3
    assert (off == 1).all()


def test_without_an_option_nothing_changes(folder: Path) -> None:
    """And --ctf_corrected_ref is what is done anyway."""
    succeed(folder, changed(BASE, "--o same/run --ctf_corrected_ref"))
    assert max(differences(folder, "same", "out").values()) < SAME
