"""Parts of the figures: ticks, places, sphere, histograms, sizes of pictures and tables."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clrelion.io.mrc import write_map
from clrelion.orientations.euler import direction_vector
from clrelion.orientations.symmetry import PointGroup
from clrelion.report import direction_figures, fonts, page
from clrelion.report.direction_figures import angular_distribution, mollweide_angles
from clrelion.report.duration import duration
from clrelion.report.figure import N_COLOURS, Axis, Bars, Curve, Plot, Rule, Table, padded_range
from clrelion.report.map_figures import maps
from clrelion.report.png import write_pictures, write_plot
from clrelion.report.progress_figures import class_sizes
from clrelion.report.run_record import IterationRecord, read_whole_run
from clrelion.report.spectrum_figures import ssnr
from clrelion.report.svg import plot_svg
from clrelion.report.ticks import nice_step, ticks
from tests.report.written_run import BOX, PIXEL, model, write_auto_refine, write_iteration


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (Axis("", 0.0, 1.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (Axis("", -3.0, 11.0), ["0", "5", "10"]),
        (Axis("", 1.0546, 1.0591), ["1.055", "1.056", "1.057", "1.058", "1.059"]),
        (Axis("", 0.0, 3.2, "count"), ["0", "1", "2", "3"]),
        (Axis("", 0.0, 2.5e7), ["0", "5e6", "1e7", "1.5e7", "2e7", "2.5e7"]),
        (Axis("", 0.5, 3000.0, "log"), ["1", "10", "100", "1000"]),
        (Axis("", 4e-5, 3e-4, "log"), ["5e-5", "1e-4", "2e-4"]),
        (Axis("", 1e-9, 1.0, "log"), ["1e-9", "1e-7", "1e-5", "1e-3", "1e-1"]),
    ],
)
def test_ticks(axis: Axis, expected: list[str]) -> None:
    found = ticks(axis)
    assert [text for _, text, _ in found] == expected
    places = axis.place(np.array([value for value, _, _ in found]))
    assert (places > -1e-9).all()
    assert (places < 1 + 1e-9).all()


def test_frequencies_have_resolutions() -> None:
    found = ticks(Axis("", 0.0, 0.125, "frequency"))
    assert [(text, below) for _, text, below in found] == [
        ("0.00", ""), ("0.05", "20 Å"), ("0.10", "10 Å"),
    ]  # fmt: skip


@pytest.mark.parametrize("n", [1, 2, 9, 10, 13, 26, 101])
def test_the_last_iteration_is_always_named(n: int) -> None:
    names = tuple((float(i), str(i)) for i in range(n))
    found = ticks(Axis("", -1.0, n, "count", names))
    assert found[-1][1] == str(n - 1)
    assert len(found) <= 10
    assert len({value for value, _, _ in found}) == len(found)


@pytest.mark.parametrize(("rough", "step"), [(0.7, 1.0), (1.0, 1.0), (1.2, 2.0), (0.033, 0.05)])
def test_nice_step(rough: float, step: float) -> None:
    assert nice_step(rough) == pytest.approx(step)


def test_ranges() -> None:
    assert padded_range([np.array([np.nan])]) == (0.0, 1.0)
    low, high = padded_range([np.array([1.0, np.inf]), np.array([3.0])])
    assert low < 1.0 < 3.0 < high < 4.0
    assert padded_range([np.array([2.0])], with_zero=True)[0] == 0.0
    low, high = padded_range([np.array([5.0])])
    assert low < 5.0 < high


def plot(**more: object) -> Plot:
    x = np.arange(4.0)
    values = {
        "x": Axis("x", 0.0, 3.0), "y": Axis("y", 0.0, 10.0), "table": Table(["a"], [[1]]),
        "curves": (Curve("c", x, np.array([0.0, 10.0, np.nan, 5.0]), has_dots=True),),
        "rules": (Rule(5.0, "half"), Rule(50.0, "outside")),
    }  # fmt: skip
    return Plot("key", "a title", "", **{**values, **more})  # type: ignore[arg-type]


def test_curves_are_where_the_axes_say() -> None:
    text = plot_svg(plot())
    assert 'class="curve c0"' in text
    path = re.search(r'class="curve[^>]* d="([^"]*)"', text)
    assert path is not None
    assert path[1] == "M0.0 238.0 127.3 0.0"  # the lonely last point is a dot
    assert "M382.0 119.0h0" in text
    assert text.count('class="rule"') == 1  # not the one outside
    assert "outside" not in text


def test_bars_and_logarithms() -> None:
    one = np.array([1.0])
    bars = Bars("b", 0 * one, one, 10 * one, 100 * one, colour=9)
    text = plot_svg(plot(y=Axis("y", 1.0, 100.0, "log"), bars=(bars,), rules=(), curves=()))
    assert '<g class="bars c1"><rect x="0.00" y="0.00" width="127.33" height="119.00"/>' in text


def test_picture_and_drawing_show_the_same(tmp_path: Path) -> None:
    """A bar over the left half is blue there, and only there."""
    bars = Bars("b", np.zeros(1), np.full(1, 1.5), np.zeros(1), np.full(1, 10.0))
    write_plot(tmp_path / "plot.png", plot(bars=(bars,), curves=(), rules=()))
    pixels = np.asarray(Image.open(tmp_path / "plot.png").convert("RGB")).astype(int)
    middle = pixels[pixels.shape[0] // 2]
    is_blue = middle[:, 2] - middle[:, 0] > 60
    left, right = np.flatnonzero(is_blue)[[0, -1]] / pixels.shape[1]
    assert left == pytest.approx(56 / 460, abs=0.01)
    assert right == pytest.approx((56 + 191) / 460, abs=0.01)


def test_dashes_and_legend(tmp_path: Path) -> None:
    x = np.arange(4.0)
    curves = tuple(
        Curve(f"a long name of a curve, {i}", x, x + i, i, is_dashed=i == 1) for i in range(5)
    )
    drawn = plot(curves=curves)
    assert len(drawn.legend()) == 5
    assert plot().legend() == []  # one curve needs no name
    write_plot(tmp_path / "plot.png", drawn)
    assert Image.open(tmp_path / "plot.png").height > 3 * 300 + 5 * 40
    assert plot_svg(drawn).count("stroke-dasharray") == 1


def test_a_system_without_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fonts.font.cache_clear()
    monkeypatch.setattr(fonts, "_system_font", lambda: None)
    assert fonts.writable("3 Å, σ², 5 µm – 日") == "3 A, sigma^2, 5 um - ?"
    write_plot(tmp_path / "plot.png", plot(x=Axis("σ² (1/Å)", 0.0, 3.0)))
    assert (tmp_path / "plot.png").stat().st_size > 1000
    fonts.font.cache_clear()


def test_mollweide_is_of_equal_area() -> None:
    rot, tilt = mollweide_angles(400, 200)
    inside = np.isfinite(rot)
    assert inside.mean() == pytest.approx(np.pi / 4, abs=0.005)
    assert (np.isfinite(tilt) == inside).all()
    # the part of the pixels below a tilt is the part of the sphere below it
    for limit in (30.0, 60.0, 90.0, 120.0):
        part = (tilt[inside] < limit).mean()
        assert part == pytest.approx((1 - np.cos(np.deg2rad(limit))) / 2, abs=0.01)
    assert (rot[inside] > 90).mean() == pytest.approx(0.25, abs=0.01)
    assert tilt[0][inside[0]].max() < 30  # north on top
    assert rot[100, 300] > 0  # rot grows to the right


@pytest.mark.parametrize("name", ["C1", "C4", "D2", "O"])
def test_symmetry_mates_are_counted(name: str) -> None:
    group = PointGroup.from_name(name)
    rng = np.random.default_rng(3)
    rot, tilt = rng.uniform(-180, 180, 50), np.rad2deg(np.arccos(rng.uniform(-1, 1, 50)))
    counts = direction_figures._count(rot, tilt, group, 3)
    assert counts.sum() == 50 * len(group.operators)
    # a mate of a particle counts in the same cells
    mate = direction_vector(rot, tilt) @ group.operators[-1]
    mates = direction_figures._count(
        np.rad2deg(np.arctan2(mate[:, 1], mate[:, 0])), np.rad2deg(np.arccos(mate[:, 2])), group, 3
    )
    np.testing.assert_array_equal(counts, mates)


def test_angular_distribution_of_one_direction(tmp_path: Path) -> None:
    run = read_whole_run(write_auto_refine(tmp_path, symmetry="C4"))
    figure = angular_distribution(run)
    assert figure is not None
    assert "4 directions that C4 makes equal" in figure.caption
    hit = [row for row in figure.table.rows if row[2]]
    assert [row[2] for row in hit] == [7] * 4
    for rot, tilt, _ in hit:
        assert abs(float(str(tilt)) - 70) < 12
        assert min(abs((float(str(rot)) - 40) % 90), 90 - (float(str(rot)) - 40) % 90) < 12
    image = figure.rows[0].panels[0].image
    assert image.shape[2] == 4
    assert image[0, 0, 3] == 0  # outside of the sphere


def test_maps_are_upright_and_to_scale(tmp_path: Path) -> None:
    data = np.zeros((BOX, BOX, BOX), dtype=np.float32)
    data[BOX // 2, BOX - 2, 1] = 1.0  # large y, small x: upper left
    name = str(tmp_path / "run_half1_class001.mrc")
    write_map(name, data, PIXEL)
    figure = maps(IterationRecord(1, model(1, 10.0, [name]), None, [name]))
    assert figure is not None
    row = figure.rows[0]
    assert row.title == "half map 1 · run_half1_class001.mrc"
    assert [p.caption for p in row.panels] == [
        "slice xy", "slice xz", "slice yz", "projection xy", "projection xz", "projection yz",
    ]  # fmt: skip
    assert divmod(int(row.panels[3].image.argmax()), BOX) == (1, 1)
    assert row.panels[0].bar is not None
    fraction, text = row.panels[0].bar
    assert text == f"{fraction * BOX * PIXEL:g} Å"
    assert figure.table.rows[0][1:5] == [BOX, PIXEL, 0.0, 1.0]
    write_pictures(tmp_path / "maps.png", figure)
    assert Image.open(tmp_path / "maps.png").width > 6 * 300


def test_large_maps_are_shrunk_and_many_classes_cut(tmp_path: Path) -> None:
    names = [str(tmp_path / f"run_class{k + 1:03d}.mrc") for k in range(20)]
    for name in names:
        write_map(name, np.zeros((BOX, BOX, BOX)), PIXEL)
    many = model(20, 10.0, names)
    many.pdf_class = np.arange(20.0) / 190
    figure = maps(IterationRecord(1, many, None, names))
    assert figure is not None
    assert "16 largest of 20 classes" in figure.caption
    assert figure.rows[0].title.startswith("class 5, 2.1 %")
    write_map(names[0], np.zeros((300, 300, 300)), PIXEL)
    figure = maps(IterationRecord(1, model(1, 10.0, names[:1]), None, names[:1]))
    assert figure is not None
    assert figure.rows[0].panels[0].image.shape == (150, 150)


def test_tables_write_a_column_alike() -> None:
    table = Table(["Iteration", "a", "b", "c"], [["1", 0.5, 1e-9, None], ["2", 1.25, 2.0, "<x>"]])
    text = page.table_html(table)
    assert "<td>0.50</td><td>1e-09</td><td>–</td>" in text
    assert "<td>1.25</td><td>2.0</td><td>&lt;x&gt;</td>" in text


def test_long_tables_are_cut() -> None:
    text = page.table_html(Table(["a"], [[i] for i in range(page.MOST_ROWS + 7)]))
    assert text.count("<tr>") == page.MOST_ROWS + 1
    assert "7 more rows in the CSV file" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (8.94, "8.9 s"),
        (59.9, "59.9 s"),
        (59.99, "1 min 0 s"),
        (250, "4 min 10 s"),
        (12300, "3 h 25 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_more_classes_than_colours_can_be_told_apart(tmp_path: Path) -> None:
    root = str(tmp_path / "run")
    for iteration in (0, 1):
        write_iteration(root, iteration, 30.0, n_classes=10)
    run = read_whole_run(root)
    for figure in (class_sizes(run), ssnr(run)):
        assert figure is not None
        looks = {(c.colour % N_COLOURS, c.is_dashed) for c in figure.curves}
        assert len(looks) == 10
