"""The page and figures of a run, from files as a run leaves them."""

from __future__ import annotations

import csv
import logging
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from clrelion.cli.report import report
from clrelion.errors import StarError
from clrelion.io.journal import (
    DeviceEntry,
    IterationEntry,
    Journal,
    journal_file,
    write_journal,
)
from clrelion.io.run_files import class_map_file, model_file, write_model
from clrelion.report.run_record import find_root, read_run, read_whole_run
from clrelion.report.summary import make_report, write_report
from tests.report.written_run import (
    model,
    write_auto_refine,
    write_iteration,
    write_particle_file,
)

FIGURES = {
    "maps", "fsc", "resolution", "ssnr", "noise", "angular_distribution", "pmax", "angles",
    "shifts", "defocus", "scale",
}  # fmt: skip
VOID = {"meta", "img", "br", "hr", "input", "link"}
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


class Page(HTMLParser):
    """Text, cells and elements of a page; fails on an element closed in the wrong place."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.cells: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

        if "td" in self.open:
            self.cells.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    @property
    def figures(self) -> set[str]:
        return {str(a["data-key"]) for _, a in self.elements if "data-key" in a}


@pytest.fixture
def auto_refine(tmp_path: Path) -> str:
    return write_auto_refine(tmp_path)


def test_auto_refine_is_read_in_order(auto_refine: str) -> None:
    records = read_run(auto_refine)
    assert [r.label for r in records] == ["0", "1", "2", "final"]
    assert [r.model.current_resolution_angst for r in records] == [60.0, 31.25, 20.5, 17.125]
    assert len(records[2].maps) == 2
    assert records[-1].maps == [f"{auto_refine}_class001.mrc"]
    assert records[1].sampling is not None
    assert records[1].sampling.healpix_order == 3


def test_neighbouring_runs_are_left_out(auto_refine: str) -> None:
    write_iteration(str(Path(auto_refine).with_name("other_run")), 7, 10.0)
    write_iteration(f"{auto_refine}2", 9, 10.0)
    assert len(read_run(auto_refine)) == 4


def test_page_is_whole_and_alone(auto_refine: str) -> None:
    path = make_report(auto_refine)
    assert path == Path(f"{auto_refine}_report.html")
    page = Page(path)
    assert page.figures == FIGURES
    assert "17.12 Å" in page.text or "17.13 Å" in page.text
    assert "converged" in page.text
    assert "4 + 3 in halves" in page.text
    for tag, attributes in page.elements:  # nothing is fetched
        for name in ("src", "href", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
    text = path.read_text(encoding="utf-8")
    assert "@import" not in text
    assert not re.search(r"url\((?!data:)", text)
    assert set(re.findall(r"https?://[^\"']+", text)) == {"http://www.w3.org/2000/svg"}


def test_every_figure_has_picture_and_numbers(auto_refine: str) -> None:
    folder = make_report(auto_refine).with_suffix("")
    stale = folder / "classes.png"
    stale.touch()
    make_report(auto_refine)
    assert not stale.exists()
    expected = {f"{key}.{kind}" for key in FIGURES for kind in ("png", "csv")}
    assert {path.name for path in folder.iterdir()} == expected | {"iterations.csv"}
    for path in folder.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    with open(folder / "resolution.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["Iteration", "Resolution (Å)", "Image size (px)"]
    assert [row[1] for row in rows[1:]] == ["60.0", "31.25", "20.5", "17.12"]
    with open(folder / "pmax.csv", encoding="utf-8", newline="") as file:
        assert sum(int(row[2]) for row in list(csv.reader(file))[1:]) == 7
    with open(folder / "scale.csv", encoding="utf-8", newline="") as file:
        assert list(csv.reader(file))[1:] == [["a", "7", "1.25"]]  # not the empty group


def test_figures_have_tables_on_the_page(auto_refine: str) -> None:
    page = Page(make_report(auto_refine))
    tables = sum(tag == "table" for tag, _ in page.elements)
    assert tables == len(FIGURES) + 1  # and that of all iterations
    assert sum(a.get("class") == "plot" for tag, a in page.elements if tag == "svg") == 9


def test_what_was_not_estimated_is_left_open(tmp_path: Path) -> None:
    root = str(tmp_path / "run")
    write_iteration(root, 1, 30.0)
    start = model(1, 40.0, ["ref.mrc"])
    start.current_size, start.ave_pmax = 0, 0.0
    start.acc_rot_deg = start.acc_trans_angst = np.array([999.0])
    write_model(model_file(root, 0), start)
    path = make_report(root)
    cells = Page(path).cells
    assert "2.0" in cells  # what the other iteration estimated is there
    assert not any("999" in cell for cell in cells)
    with open(path.with_suffix("") / "iterations.csv", encoding="utf-8", newline="") as file:
        first, second = list(csv.DictReader(file))
    for name in ("Image size (px)", "Accuracy (°)", "Accuracy (Å)", "Mean Pmax"):
        assert first[name] == ""
        assert second[name] != ""


def test_classification_shows_classes_and_no_fsc(tmp_path: Path) -> None:
    root = str(tmp_path / "run")
    for iteration, resolution in ((0, 40.0), (1, 25.0)):
        write_iteration(root, iteration, resolution, n_classes=2)
    page = Page(make_report(root))
    assert page.figures == {"maps", "resolution", "classes", "ssnr", "noise", "angles", "shifts",
                            "scale"}  # fmt: skip
    assert "class 2, 50.0 %" in page.text
    # without particle, optimiser and journal files nothing is said about what they hold
    for word in ("converged", "running", "Reproduce", "Time", "Warnings", "Defocus"):
        assert word not in page.text


def test_times_warnings_and_versions(tmp_path: Path) -> None:
    root = str(tmp_path / "run")
    write_iteration(root, 0, 40.0)
    write_iteration(root, 1, 30.0)
    write_iteration(root, 2, 10.0)  # of an earlier run with this root
    entry = IterationEntry(1, 75.0, 6, 10**9, {"getImg": 25.0, "store": 40.0})
    write_journal(
        journal_file(root),
        Journal(
            "2026-01-02T03:04:05+00:00", {"numpy": "9.8.7"}, [DeviceEntry("A GPU", "555", 10**10)],
            [entry], [(1, "a particle <b>was</b> left out")],
        ),
    )  # fmt: skip
    write_particle_file(root, 1)
    path = make_report(root)
    page = Page(path)
    assert "1 min 15 s" in page.text
    assert "a particle <b>was</b> left out" in page.text
    for words in ("Iteration 1", "A GPU", "9.8.7"):
        assert words in page.text
    assert "1 left out of the last iteration" in page.text
    assert "30.00 Å" in page.text
    with open(path.with_suffix("") / "time.csv", encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["getImg (s)"], row["store (s)"], row["others (s)"]) == ("25.0", "40.0", "10.0")


def test_text_of_files_is_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "<img src=x onerror=alert(1)>"
    folder.mkdir()
    root = str(folder / "run&<b>")
    write_iteration(root, 1, 30.0)
    write_particle_file(root, 1, optics_name="<script>alert(2)</script>")
    bad = model(1, 30.0, [class_map_file(root, 1, 0)])
    bad.group_names = ['"><script>alert(3)</script>', "b"]
    write_model(model_file(root, 1), bad)
    page = Page(make_report(root))
    assert sum(tag == "script" for tag, _ in page.elements) == 1
    assert all(a.get("src", "data:") != "x" for _, a in page.elements)
    assert '"><script>alert(3)</script>' in page.text


def test_unreadable_particles_are_a_warning(auto_refine: str) -> None:
    Path(f"{auto_refine}_data.star").write_text("data_\n\n_rlnOne 1\n", encoding="utf-8")
    page = Page(make_report(auto_refine))
    assert "_data.star" in page.text
    assert "angular_distribution" not in page.figures


def test_complaints_of_relion_are_shown(auto_refine: str) -> None:
    (Path(auto_refine).parent / "run.err").write_text("WARNING: a < b\n\n", encoding="utf-8")
    assert "WARNING: a < b" in Page(make_report(auto_refine)).text


def test_no_run_with_this_root(tmp_path: Path) -> None:
    with pytest.raises(StarError, match="no model file of a run with this root"):
        make_report(str(tmp_path / "run"))


def test_a_run_is_found_by_any_of_its_files(auto_refine: str, tmp_path: Path) -> None:
    for name in (
        str(tmp_path), auto_refine, f"{auto_refine}_it002_half1_model.star",
        f"{auto_refine}_it001_sampling.star", f"{auto_refine}_class001.mrc",
        f"{auto_refine}_it000_half2_class001.mrc", f"{auto_refine}_optimiser.star",
    ):  # fmt: skip
        assert find_root(name) == auto_refine
    write_iteration(str(tmp_path / "second"), 1, 10.0)
    with pytest.raises(StarError, match="several runs"):
        find_root(str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(StarError, match="give the --o of a run"):
        find_root(str(tmp_path / "empty"))


def test_command(auto_refine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("clrelion").handlers = []
    assert report([auto_refine, "--o", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "page.html")
    assert (tmp_path / "page" / "fsc.png").is_file()
    assert report([str(tmp_path / "nothing")]) == 1
    assert "there is no model file" in capsys.readouterr().err
    assert report([auto_refine, "--output", "x"]) == 1


@pytest.mark.parametrize(
    ("name", "resolution", "figures"),
    [
        ("betagal80/relion5/run", "17.08 Å", FIGURES),
        ("polii64/relion5/run", "8.26 Å", FIGURES),
        ("trpv1_96/relion5/run", "4.90 Å", FIGURES),
        ("polii_k2_64/relion5/run", "14.22 Å", FIGURES - {"fsc"} | {"classes"}),
        ("steps/pol/auto/run", "Å", FIGURES),
        ("steps/pol/K2/run", "Å", FIGURES - {"fsc"} | {"classes"}),
    ],
)
def test_runs_of_relion(name: str, resolution: str, figures: set[str], tmp_path: Path) -> None:
    if not (SHARED / name).parent.is_dir():
        pytest.skip("needs ../shared")
    run = read_whole_run(str(SHARED / name))
    assert run.complaints == []
    page = Page(write_report(run, str(tmp_path / "page.html"), with_files=False))
    assert page.figures == figures
    assert resolution in page.text
    has_optimiser = run.last.optimiser is not None
    assert ("RELION 5.0.1" in page.text) == has_optimiser
    assert ("--particle_diameter 200" in page.text) == has_optimiser
