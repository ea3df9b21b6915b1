"""The commands of the GeRelion paper, from end to end on sets of a few particles.

The sets are what the paper's were: single-table STAR files of RELION 1.x, which name no pixel size.
Their boxes hold the commands' particle diameters. Only flags that end a run early are appended.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from clrelion.cli.simulate import simulate
from clrelion.device import choice
from clrelion.io.run_files import read_model
from clrelion.io.star import StarBlock, read_star
from clrelion.io.star_writer import write_star
from clrelion.options import RefineOptions
from clrelion.refinement import run
from clrelion.refinement.run import RunSummary, run_refinement
from tests.reference.paper_commands import PAPER_COMMANDS
from tests.reference.refine_program import Ended, run_refine, succeed

N = 16
NOTED_ONCE = ("--memory_per_thread", "--dont_combine_weights_via_disc", "--ctf_corrected_ref")
NO_GPU = "--mode 1: there is no GPU on this machine; the best other device is used"


@dataclass(frozen=True)
class PaperSet:
    """A set in the place of one of the paper's."""

    star: str
    reference: str
    box: int
    pixel_angst: float
    symmetry: str


SETS = {
    "TRPV1 auto-refine": PaperSet("new_DFMerge_20.star", "EMD-5778.mrc", 144, 1.2156, "C4"),
    "TRPV1 classification": PaperSet(
        "allimg.star", "3D_relion_class001_shz-5.dat", 160, 1.23, "C4"
    ),
    "RAG": PaperSet("particles_autopick_sort_class2d.star", "3i3e_lp50A.mrc", 64, 3.54, "D2"),
}


def set_of(name: str) -> PaperSet:
    return next(one for key, one in SETS.items() if name.startswith(key))


def write_legacy_star(path: Path, modern: Path) -> None:
    """Write particles as RELION 1.x did: one table, no pixel size."""
    blocks = read_star(modern)
    optics, particles = blocks["optics"], blocks["particles"]
    constants = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
    columns = {
        **{label: particles.strings(label) for label in particles.columns},
        **{label: optics.strings(label) * particles.n_rows for label in constants},
    }
    del columns["rlnOpticsGroup"]
    write_star(path, [StarBlock("images", True, columns)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the files that the paper's commands name."""
    place = tmp_path_factory.mktemp("paper")
    for one in SETS.values():
        made = place / "made" / one.star
        arguments = (
            f"--o {made} --molecule seed:1,kda:60,sym:{one.symmetry} --n {N} --box {one.box} "
            f"--angpix {one.pixel_angst} --snr 0.2 --particles_per_micrograph {N // 2} --j 1"
        )
        assert simulate(shlex.split(arguments)) == 0
        write_legacy_star(place / one.star, made / "particles.star")
        shutil.copy(made / "ref01.mrc", place / one.reference)
        (made / "particles.mrcs").rename(place / f"{one.star}.mrcs")
        text = (place / one.star).read_text().replace("@particles.mrcs", f"@{one.star}.mrcs")
        (place / one.star).write_text(text)
    return place


@pytest.fixture(autouse=True)
def only_cpus() -> Iterator[None]:
    """The same on every machine: the CPUs alone are there."""
    cpus = [device for device in choice.list_devices() if device.kind == "cpu"]
    if not cpus:
        pytest.skip("there is no OpenCL device of type CPU")
    with mock.patch.object(choice, "list_devices", return_value=cpus):
        yield


def run_short(folder: Path, name: str, n_iterations: int = 2) -> Ended:
    """Run a command, ended early by one more flag."""
    option = "--auto_iter_max" if "auto-refine" in name else "--iter"
    return run_refine(folder, f"{PAPER_COMMANDS[name]} {option} {n_iterations}")


@pytest.mark.parametrize("name", PAPER_COMMANDS)
def test_command_runs(name: str, folder: Path) -> None:
    ended = run_short(folder, name)
    assert ended.code == 0, ended.err[-2000:]
    command = PAPER_COMMANDS[name]
    for flag in NOTED_ONCE:
        assert ended.err.count(f"{flag} has no effect") == 1
    assert ended.err.count(NO_GPU) == 1
    half = "_half1" if "auto-refine" in name else ""
    root = folder / command.split()[1]
    model = read_model(f"{root}_it002{half}_model.star")
    one = set_of(name)
    assert (model.ori_size, model.pixel_size_angst) == (one.box, one.pixel_angst)
    k = re.search(r"--K (\d+)", command)
    assert model.n_classes == int(k[1] if k else 1)
    assert len(model.scale_correction) == 2
    data = read_star(f"{root}_it002_data.star")
    # a legacy file has no pixel size: it is the command's
    assert data["optics"].floats("rlnImagePixelSize").tolist() == [one.pixel_angst]
    assert data["particles"].n_rows == N


def test_what_the_command_chose_is_used(folder: Path) -> None:
    """Ranges are in pixels, as in RELION 1.x; the seed is the command's, and so are the threads."""
    name = "RAG auto-refine"
    root = folder / PAPER_COMMANDS[name].split()[1]
    threads: list[int] = []

    def note_threads(options: RefineOptions, *rest: object, **more: object) -> RunSummary:
        threads.append(options.n_threads or 0)
        return run_refinement(options, *rest, **more)  # type: ignore[arg-type]

    with mock.patch.object(run, "run_refinement", note_threads):
        assert run_short(folder, name, 1).code == 0
    assert threads == [2]
    optimiser = read_star(f"{root}_it001_optimiser.star")["optimiser_general"]
    assert optimiser.ints("rlnRandomSeed")[0] == 1401784870
    sampling = read_star(f"{root}_it001_sampling.star")["sampling_general"]
    assert sampling.floats("rlnOffsetRange")[0] == pytest.approx(4 * 3.54, abs=1e-6)
    assert sampling.floats("rlnOffsetStep")[0] == pytest.approx(2 * 3.54, abs=1e-6)


def test_mode_0_is_the_cpu_and_says_nothing(folder: Path) -> None:
    command = PAPER_COMMANDS["RAG classification"].replace("--mode 1", "--mode 0")
    ended = succeed(folder, f"{command} --iter 1 --o mode0/run")
    assert "there is no GPU" not in ended.err
    assert "--mode" not in ended.err


def test_mode_1_with_a_named_device_says_nothing(folder: Path) -> None:
    command = PAPER_COMMANDS["RAG classification"]
    ended = succeed(folder, f"{command} --iter 1 --o named/run --device cpu")
    assert "there is no GPU" not in ended.err


def test_a_legacy_file_needs_angpix(folder: Path) -> None:
    command = PAPER_COMMANDS["RAG classification"].replace("--angpix 3.54", "")
    ended = run_refine(folder, f"{command} --iter 1 --o nopixel/run")
    assert ended.code == 1
    assert "--angpix" in ended.err.splitlines()[-1]


def test_these_are_the_papers_commands(shared: Path) -> None:
    """Letters, digits and dots are the paper's; the scan garbles dashes, underscores, spaces."""
    text = (shared / "paper.txt").read_text(encoding="utf-8").rstrip()
    assert text.endswith("--mode")  # the last command's value is cut off: 1, as in the others
    text += " 1"
    text = text[text.index("The command of auto-refine on TRPV1") :]
    # a paragraph of the paper stands between the two halves of the last command
    text = re.sub(r"- Code availability.*?\n", "", text, flags=re.DOTALL)

    def kept(part: str) -> str:
        return re.sub(r"[^A-Za-z0-9.]", "", part)

    found = re.findall(r"relion_refine_mpi(.*?mode 1)", text, flags=re.DOTALL)
    assert [kept(part) for part in found] == [kept(line) for line in PAPER_COMMANDS.values()]
