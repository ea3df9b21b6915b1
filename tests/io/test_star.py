"""STAR files: RELION's files survive a round trip byte for byte, and bad ones are named."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clrelion.errors import ClrelionError, StarError
from clrelion.io import star
from clrelion.io.star import StarBlock, StarTable, read_comments, read_star, write_star
from clrelion.io.star_writer import Column, KeptTable, format_all_digits, format_floats

LOOP = "\ndata_particles\n\nloop_\n_rlnImageName #1\n_rlnDefocusU #2\n_rlnGroupName #3\n"


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def values_of(blocks: dict[str, StarBlock]) -> dict[str, tuple[bool, dict[str, list[str]]]]:
    return {name: (block.is_loop, block.columns) for name, block in blocks.items()}


def test_relion_files_are_rewritten_byte_for_byte(shared: Path, tmp_path: Path) -> None:
    paths = sorted((shared / "data" / "steps").rglob("run*.star"))
    assert len(paths) > 100
    for path in paths[::5]:
        blocks = read_star(path)
        write_star(tmp_path / "again.star", blocks.values(), read_comments(path))
        theirs = [line.rstrip() for line in path.read_text().rstrip().splitlines()]
        while theirs[-1] in ("# version 50001", ""):
            theirs.pop()  # the tables that followed were cut from the shared files
        ours = [line.rstrip() for line in (tmp_path / "again.star").read_text().splitlines()]
        assert ours[: len(theirs)] == theirs, path
        assert not any(ours[len(theirs) :])


def test_shared_files_are_read(shared: Path) -> None:
    for path in sorted((shared / "data").rglob("*.star"))[::2]:
        blocks = read_star(path)
        assert all(block.n_rows > 0 for block in blocks.values()), path


@pytest.mark.skipif(not shutil.which("relion_star_handler"), reason="needs Debian's relion")
def test_relion_reads_what_we_write(shared: Path, tmp_path: Path) -> None:
    blocks = read_star(shared / "data/steps/pol/base/run_it002_data.star")
    particles = blocks["particles"]
    particles.columns["rlnMicrographName"][3] = "my micrograph.mrc"
    particles.columns["rlnGroupName"] = ["", *["a 'b'"] * (particles.n_rows - 1)]
    write_star(tmp_path / "in.star", blocks.values())
    subprocess.run(
        ["relion_star_handler", "--i", "in.star", "--o", "out.star"], cwd=tmp_path, check=True
    )
    theirs = read_star(tmp_path / "out.star")["particles"]
    assert theirs.n_rows == particles.n_rows
    for label in ("rlnMicrographName", "rlnImageName", "rlnGroupName"):
        assert theirs.strings(label) == particles.strings(label)
    for label in ("rlnAngleRot", "rlnLogLikeliContribution", "rlnDefocusU"):
        np.testing.assert_allclose(theirs.floats(label), particles.floats(label), atol=1e-6)


CONTROL = "\n\r\x00\x07"
TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters=CONTROL), max_size=12
) | st.sampled_from(
    ["", "a b", '"', "'", '" ', "#x", "data_x", "_x", "loop_", "nan", "0001", 'a" b']
)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=6),
    single=st.lists(TEXT, min_size=1, max_size=3),
)
def test_round_trip_of_any_strings(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], single: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "hypothesis.star"
    columns = {f"rlnC{i}": list(column) for i, column in enumerate(zip(*rows, strict=True))}
    table = StarBlock("t", True, columns)
    values = StarBlock("", False, {f"rlnV{i}": [text] for i, text in enumerate(single)})
    write_star(path, [values, table])
    blocks = read_star(path)
    assert values_of(blocks) == values_of({"": values, "t": table})


def test_starfile_and_own_rows_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    pmax = rng.normal(size=100) * 10.0 ** rng.integers(-9, 9, 100)
    table = StarTable(
        "particles",
        {
            "rlnImageName": [f"{i:06d}@0001.mrcs" for i in range(1, 101)],
            "rlnClassNumber": rng.integers(0, 5, 100),
            "rlnPmax": pmax,
        },
    )
    write_star(tmp_path / "a.star", [table])
    with monkeypatch.context() as patch:
        patch.setattr(star, "_split_block", None)  # a plain file is left to the starfile package
        plain = read_star(tmp_path / "a.star")
    monkeypatch.setattr(star, "_starfile_tables", lambda *_: None)
    assert values_of(read_star(tmp_path / "a.star")) == values_of(plain)
    np.testing.assert_allclose(plain["particles"].floats("rlnPmax"), pmax, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "    0.000000"),
        (-6.0, "    -6.00000"),
        (0.001, "    0.001000"),
        (0.00099, "9.900000e-04"),
        (-0.00099, "-9.90000e-04"),
        (100000.0, "100000.000000"),
        (100000.5, "1.000005e+05"),
        (-181580.5, "-1.81580e+05"),
        (float("inf"), "         inf"),
    ],
)
def test_float_format(value: float, text: str) -> None:
    assert format_floats(np.array([value, value])) == [text, text]


def test_all_digits(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    values = rng.standard_normal(500) * 10.0 ** rng.integers(-12, 12, 500)
    values[:6] = [0.0, -0.0, 1e-300, 3.0, np.inf, 0.1]
    path = tmp_path / "digits.star"
    tables = [
        StarTable("table", {"rlnDefocusU": values, "rlnClassNumber": np.arange(500)}),
        StarTable.of_values("list", {"rlnPixelSize": 1 / 3}),
    ]
    write_star(path, tables, all_digits=True)
    found = read_star(path)
    np.testing.assert_array_equal(found["table"].floats("rlnDefocusU"), values)
    assert found["list"].floats("rlnPixelSize")[0] == 1 / 3
    write_star(path, tables)
    assert not np.array_equal(read_star(path)["table"].floats("rlnDefocusU"), values)


def test_all_digits_only_where_relions_formats_lose_some() -> None:
    rng = np.random.default_rng(4)
    size = 10.0 ** rng.integers(-12, 18, 3000)
    values = np.concatenate(
        [
            [0.0, -0.0, np.inf, -np.inf, np.nan, 1e5, 99999.123456, -99999.12345, -9.999999e-5],
            [249616500000.0, -131932000000.0, 1234567890.0, 0.001, 9.999999e-4, 5e-324, 1e22],
            rng.standard_normal(3000) * size,
            [float(f"{value:.6e}") for value in rng.standard_normal(3000) * size],
            rng.integers(-(10**7), 10**7, 1000).astype(np.float64),
        ]
    )
    for value, short, text in zip(
        values.tolist(), format_floats(values), format_all_digits(values), strict=True
    ):
        is_exact = float(short) == value or value != value
        assert text == (short if is_exact else repr(value).rjust(12))


def test_typed_values_keep_their_kind(tmp_path: Path) -> None:
    write_star(
        tmp_path / "a.star",
        [
            StarTable.of_values(
                "g", {"rlnA": 1.5, "rlnB": True, "rlnC": 3, "rlnD": "", "rlnE": "x y"}
            ),
            StarTable("empty", {"rlnA": np.zeros(0), "rlnB": []}),
            StarTable("t", {"rlnA": np.arange(3), "rlnB": np.array(["p", "q r", ""])}),
        ],
        comments=["one", "two"],
    )
    assert (tmp_path / "a.star").read_text().startswith("# one\n# two\n\n# version 50001\n")
    assert read_comments(tmp_path / "a.star") == ["one", "two"]
    blocks = read_star(tmp_path / "a.star")
    assert {k: v[0] for k, v in blocks["g"].columns.items()} == {
        "rlnA": "1.500000",
        "rlnB": "1",
        "rlnC": "3",
        "rlnD": "",
        "rlnE": "x y",
    }
    assert blocks["empty"].columns == {"rlnA": [], "rlnB": []}
    assert blocks["t"].ints("rlnA").tolist() == [0, 1, 2]
    assert blocks["t"].strings("rlnB") == ["p", "q r", ""]


def test_relion_grammar(tmp_path: Path) -> None:
    head = (
        '# version 30001\n\ndata_list\n_rlnA 5 # five\n_rlnB "x\x07" y"\n_rlnOld\n\n'
        "data_particles trailing\nloop_\n_rlnImageName #1 anything\n_rlnFoo\n"
    )
    rows = "data_set/1.mrcs 'it's here' # comment\n\"a b\"\t0001\n# only a comment\nnan 1\n \n# end"
    blocks = read_star(write(tmp_path / "a.star", head + rows))
    assert blocks["list"].columns == {"rlnA": ["5"], "rlnB": ['x" y'], "rlnOld": [""]}
    assert blocks["particles"].columns == {
        "rlnImageName": ["data_set/1.mrcs", "a b", "nan"],
        "rlnFoo": ["it's here", "0001", "1"],
    }
    blocks = read_star(write(tmp_path / "a.star", head + "\nx 1\n"))
    assert blocks["particles"].n_rows == 1, "a blank line before the first row does no harm"
    blocks = read_star(write(tmp_path / "a.star", head + "\ndata_next\n_rlnA 1\n"))
    assert blocks["particles"].n_rows == 0
    assert blocks["next"].columns == {"rlnA": ["1"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LOOP.replace("\n", "\r\n") + "a 1 b\r\n", r"line 1 ends in CR-LF.*sed"),
        (LOOP + "a 1 b\nc 2\nd 3 e\n", r"line 9: row 2 of data_particles has 2 values, 3 labels"),
        (LOOP + "a 1 b\nc 2 d e\n", r"line 9: row 2 of data_particles has 4 values, 3 labels"),
        (LOOP + "a 1 b c\n", r"row 1 of data_particles has 4 values"),
        (LOOP + "a 1\n", r"row 1 of data_particles has 2 values"),
        (LOOP + "a 1 b\n\nc 2 d\n", r"line 10: 'c 2 d' stands outside of any table"),
        (LOOP.replace("rlnGroupName", "rlnDefocusU") + "a 1 b\n", "_rlnDefocusU twice"),
        (LOOP + "a 1 b\n" + LOOP + "a 1 b\n", "data_particles occurs twice"),
        ("data_x\n_rlnA 1 2\n", "data_x has 3 values, a label and one value"),
        ("data_x\n_rlnA 1\nloop_\n_rlnB\n1\n", "loop_ after single values"),
        ("hello\n", "outside of any table"),
        ("", "no data_ block"),
        ("\0\0", "binary"),
    ],
)
def test_bad_files_are_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "bad.star", text)
    with pytest.raises(StarError, match=message) as error:
        read_star(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_bad_values_are_named(tmp_path: Path) -> None:
    block = read_star(write(tmp_path / "a.star", LOOP + "a 1 b\nc 2.5x 1.5\n"))["particles"]
    with pytest.raises(StarError, match=r"a\.star: row 2 .*rlnDefocusU is '2\.5x', not a number"):
        block.floats("rlnDefocusU")
    with pytest.raises(StarError, match=r"row 1 .*rlnGroupName is 'b', not an integer"):
        block.ints("rlnGroupName")
    with pytest.raises(StarError, match="no _rlnVoltage; add this column"):
        block.floats("rlnVoltage")
    assert block.floats("rlnVoltage", 300).tolist() == [300, 300]
    assert StarBlock("x", True, {"rlnA": ["1.000", "2"]}).ints("rlnA").tolist() == [1, 2]
    with pytest.raises(StarError, match=r"'1\.5', not an integer"):
        StarBlock("x", True, {"rlnA": ["1.5"]}).ints("rlnA")


def test_missing_file() -> None:
    with pytest.raises(StarError, match=r"nowhere\.star: cannot be read"):
        read_star("nowhere.star")


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.star", "old")
    with pytest.raises(StarError, match="line break"):
        write_star(path, [StarTable("t", {"rlnA": ["x\ny"]})])
    with pytest.raises(StarError, match="differ in length"):
        write_star(path, [StarTable("t", {"rlnA": ["x"], "rlnB": []})])
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.star"]
    with pytest.raises(ClrelionError, match=r"cannot be written .*check that the folder exists"):
        write_star(tmp_path / "no" / "a.star", [StarTable("t", {"rlnA": ["x"]})])


def test_bytes_that_are_no_utf8_survive(tmp_path: Path) -> None:
    (tmp_path / "a.star").write_bytes(LOOP.encode() + b"caf\xe9.mrcs 1 b\n")
    write_star(tmp_path / "b.star", read_star(tmp_path / "a.star").values())
    assert b"caf\xe9.mrcs" in (tmp_path / "b.star").read_bytes()


def test_a_large_table_is_written_in_chunks(tmp_path: Path) -> None:
    n = 120_001
    table = StarTable("t", {"rlnA": np.arange(n), "rlnB": np.linspace(-1, 1, n)})
    write_star(tmp_path / "a.star", [table])
    block = read_star(tmp_path / "a.star")["t"]
    assert block.ints("rlnA").tolist() == list(range(n))
    np.testing.assert_allclose(block.floats("rlnB"), np.linspace(-1, 1, n), atol=1e-5)


@pytest.mark.parametrize("all_digits", [False, True])
def test_repeated_numbers_are_written_as_any_others(tmp_path: Path, all_digits: bool) -> None:
    """Values that repeat are formatted once; signs of zeros stay."""
    rng = np.random.default_rng(3)
    few = np.array([0.0, -0.0, 0.125, -3.7e-5, 1.0 / 3.0, 2.5e7, np.inf, np.nan])
    values = few[rng.integers(0, len(few), 2345)]
    path = tmp_path / "many.star"
    write_star(path, [StarTable("many", {"rlnA": values})], all_digits=all_digits)
    cells = path.read_text().split("_rlnA #1 \n")[1].split(" \n")
    form = format_all_digits if all_digits else format_floats
    assert cells[: len(values)] == form(values)


def test_a_kept_table_is_written_alike_again(tmp_path: Path) -> None:
    columns: dict[str, Column] = {"rlnA": np.arange(2100) / 7, "rlnB": np.arange(2100)}
    kept = KeptTable("angles", columns)
    texts = []
    for number, block in enumerate([StarTable("angles", columns), kept, kept]):
        for all_digits in (False, True):
            path = tmp_path / f"{number}_{all_digits}.star"
            write_star(path, [block], all_digits=all_digits)
            texts.append(path.read_text())
    assert texts[0] != texts[1]
    assert texts[2:4] == texts[4:6] == texts[:2]
