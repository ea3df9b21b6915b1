"""MRC files: maps that every program accepts, stacks of every mode, and bad files named."""

import logging
import os
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from clrelion.errors import ImageError, NumericalError
from clrelion.io import mrc as mrc_module
from clrelion.io import mrc_stack
from clrelion.io.image_names import ImageNames, parse_image_name
from clrelion.io.mrc import ImageReader, read_map, read_stack_header, write_map

RNG = np.random.default_rng(7)


def write_stack(path: Path, data: np.ndarray, pixel_size: float = 1.5) -> Path:
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(data)
        mrc.set_image_stack()
        mrc.voxel_size = pixel_size
    return path


def test_written_map_is_valid_and_comes_back(tmp_path: Path) -> None:
    data = RNG.normal(size=(6, 8, 10))
    write_map(tmp_path / "map.mrc", data, 1.25, label="a label")
    assert mrcfile.validate(tmp_path / "map.mrc")
    with mrcfile.open(tmp_path / "map.mrc") as mrc:
        header = mrc.header
        assert mrc.is_volume()
        assert (int(header.mode), int(header.ispg), int(header.nversion)) == (2, 1, 20141)
        assert mrc.voxel_size.x == pytest.approx(1.25)
        assert header.origin.item() == (0, 0, 0)
        assert (int(header.nxstart), int(header.nystart), int(header.nzstart)) == (0, 0, 0)
        assert (int(header.mapc), int(header.mapr), int(header.maps)) == (1, 2, 3)
        stored = data.astype(np.float32)
        assert header.dmin == stored.min()
        assert header.dmax == stored.max()
        assert header.dmean == pytest.approx(stored.mean(), abs=1e-6)
        assert header.rms == pytest.approx(stored.std(), rel=1e-6)
        assert mrc.get_labels() == ["a label"]
    again = read_map(tmp_path / "map.mrc")
    np.testing.assert_array_equal(again.data, data.astype(np.float32))
    assert again.pixel_size_angst == pytest.approx(1.25)
    first = (tmp_path / "map.mrc").read_bytes()
    write_map(tmp_path / "map.mrc", data, 1.25, label="a label")
    assert (tmp_path / "map.mrc").read_bytes() == first, "equal maps give equal files"
    assert [p.name for p in tmp_path.iterdir()] == ["map.mrc"]


def test_relion_maps_are_read_as_mrcfile_reads_them(shared: Path) -> None:
    for path in sorted((shared / "data").rglob("*.mrc")):
        ours = read_map(path)
        with mrcfile.open(path, permissive=True) as mrc:
            np.testing.assert_array_equal(ours.data, mrc.data)
            assert ours.pixel_size_angst == pytest.approx(float(mrc.voxel_size.x))


def test_nan_is_neither_written_nor_read(tmp_path: Path) -> None:
    data = np.zeros((4, 4, 4), np.float32)
    write_map(tmp_path / "old.mrc", data, 1.0)
    data[1, 2, 3] = np.nan
    with pytest.raises(NumericalError, match="NaN"):
        write_map(tmp_path / "old.mrc", data, 1.0)
    assert not read_map(tmp_path / "old.mrc").data.any()
    with pytest.warns(RuntimeWarning, match="NaN"):
        write_stack(tmp_path / "nan.mrc", data)
    with pytest.raises(ImageError, match=r"nan\.mrc: holds NaN"):
        read_map(tmp_path / "nan.mrc")


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f2", "f4"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_stacks_of_all_modes_and_byte_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, order: str
) -> None:
    data = (RNG.normal(size=(5, 8, 8)) * 20 + 60).astype(dtype)
    path = write_stack(tmp_path / "s.mrcs", data)
    if order == ">":
        swap_bytes(path, np.dtype(dtype).itemsize)
    header = read_stack_header(path)
    assert (header.nx, header.ny, header.nz) == (8, 8, 5)
    assert header.pixel_size_angst == pytest.approx(1.5)
    images = ImageReader().read([f"{i}@{path}" for i in (5, 1, 3)])
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, data[[4, 0, 2]].astype(np.float32))
    # each image from the file, some in a row at once, or all from a map; in one go or in parts
    for fewest, n_bytes in ((1, 10), (1, 2**20), (9, 300), (9, 2**20)):
        monkeypatch.setattr(mrc_stack, "_FEWEST_FROM_MAP", fewest)
        monkeypatch.setattr(mrc_stack, "_CONVERTED_BYTES", n_bytes)
        for places in ([4, 0, 2, 2], [1, 2, 3, 4], [3, 2], [0]):
            images = ImageReader().read([f"{i + 1}@{path}" for i in places])
            np.testing.assert_array_equal(images, data[places].astype(np.float32))


def swap_bytes(path: Path, itemsize: int) -> None:
    raw = path.read_bytes()
    head = np.frombuffer(raw[:224], "<i4").byteswap().tobytes()
    data = np.frombuffer(raw[1024:], f"<u{itemsize}").byteswap().tobytes()
    path.write_bytes(head + raw[224:1024] + data)


@pytest.mark.parametrize("nx", [6, 7])
def test_packed_4_bit_images(tmp_path: Path, nx: int) -> None:
    pixels = RNG.integers(0, 16, size=(3, 6, nx), dtype=np.uint8)
    padded = np.zeros((3, 6, nx + nx % 2), np.uint8)
    padded[..., :nx] = pixels
    packed = padded[..., 0::2] | (padded[..., 1::2] << 4)
    header = np.zeros(256, "<i4")
    header[:4] = nx, 6, 3, 101
    path = tmp_path / "s.mrcs"
    path.write_bytes(header.tobytes() + packed.tobytes())
    assert read_stack_header(path).nx == nx
    np.testing.assert_array_equal(read_map(path).data, pixels)
    if nx == 6:
        np.testing.assert_array_equal(ImageReader().read([f"2@{path}"])[0], pixels[1])


def test_extended_header_is_skipped(tmp_path: Path) -> None:
    data = RNG.normal(size=(2, 4, 4)).astype(np.float32)
    path = write_stack(tmp_path / "s.mrcs", data)
    with mrcfile.open(path, "r+") as mrc:
        mrc.set_extended_header(np.zeros(100, dtype="V1"))
    np.testing.assert_array_equal(ImageReader().read([f"2@{path}"])[0], data[1])


def test_one_image_files_and_hints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = RNG.normal(size=(4, 8, 8)).astype(np.float32)
    with mrcfile.new("flat.mrcs") as mrc:
        mrc.set_data(data[0])
    write_stack(Path("s.tif"), data)
    write_stack(Path("s.mrcs"), data)
    images = ImageReader().read(["flat.mrcs", "1@flat.mrcs", "3@s.tif:mrcs", "000004@s.mrcs:mrcs"])
    np.testing.assert_array_equal(images, data[[0, 0, 2, 3]])
    with pytest.raises(ImageError, match=r"s\.mrcs holds 4 images; name one of them"):
        ImageReader().read(["s.mrcs"])


def test_image_names() -> None:
    assert parse_image_name("000012@a/b@c.mrcs") == (11, "a/b@c.mrcs")
    assert parse_image_name("b.mrc") == (None, "b.mrc")
    assert parse_image_name("000012@b.mrcs") == (11, "b.mrcs")
    for bad in ("0@b.mrcs", "x@b.mrcs", "-1@b.mrcs", "@b.mrcs"):
        with pytest.raises(ImageError, match="must be <number>@<stack>"):
            parse_image_name(bad)
    with pytest.raises(ImageError, match=r"rename b\.mrc, or write b\.mrc:mrcs"):
        parse_image_name("1@b.mrc")


def test_stacks_beside_the_star_file_warn_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "project").mkdir()
    data = RNG.normal(size=(2, 4, 4)).astype(np.float32)
    for name in ("a.mrcs", "b.mrcs"):
        write_stack(tmp_path / "project" / name, data)
    monkeypatch.chdir(tmp_path)
    reader = ImageReader("project/p.star")
    with caplog.at_level(logging.WARNING):
        images = reader.read(["1@a.mrcs", "2@b.mrcs"])
    np.testing.assert_array_equal(images, data)
    assert len(caplog.records) == 1
    monkeypatch.chdir(tmp_path / "project")
    caplog.clear()
    ImageReader("p.star").read(["1@a.mrcs"])
    assert not caplog.records


def test_images_are_read_into_place_without_a_second_copy(tmp_path: Path) -> None:
    data = RNG.normal(size=(3, 4, 4)).astype(np.float32)
    path = write_stack(tmp_path / "s.mrcs", data)
    out = np.empty((2, 4, 4), np.float32)
    assert ImageReader().read([f"1@{path}", f"3@{path}"], out=out) is out
    np.testing.assert_array_equal(out, data[[0, 2]])


def test_the_cache_forgets_the_oldest_stack(tmp_path: Path) -> None:
    reader = ImageReader(max_open=2)
    for i in range(4):
        path = write_stack(tmp_path / f"{i}.mrcs", np.full((1, 4, 4), i, np.float32))
        assert reader.read([f"1@{path}"])[0, 0, 0] == i
    assert len(reader._open) == 2
    reader.close()
    assert not reader._open


def bad_stack(tmp_path: Path, kind: str) -> str:
    data = RNG.normal(size=(3, 8, 8)).astype(np.float32)
    path = write_stack(tmp_path / "s.mrcs", data)
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        os.truncate(path, 1024 + 8 * 8 * 4 * 2)
    elif kind == "no header":
        os.truncate(path, 100)
    elif kind == "mode 4":
        raw = bytearray(path.read_bytes())
        raw[12] = 4
        path.write_bytes(raw)
    elif kind == "gzip":
        path.write_bytes(b"\x1f\x8b" + bytes(2000))
    elif kind == "text":
        path.write_bytes(b"this is no image file at all    " * 100)
    return f"{4 if kind == 'index' else 2}@{path}"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"p\.star row 12: .*s\.mrcs: no such image file in the working directory"),
        ("truncated", r"p\.star row 12: .*s\.mrcs: is truncated: 1536 bytes, .* need 1792"),
        ("no header", r"p\.star row 12: .*s\.mrcs: is truncated: 100 bytes"),
        ("index", r"p\.star row 12: 4@.*holds only 3 images"),
        ("mode 4", "row 12: .*has MRC mode 4; supported are 0, 1, 2, 6, 12, 101"),
        ("gzip", r"row 12: .*is compressed \(gzip\); uncompress it"),
        ("text", "row 12: .*is no MRC file"),
        ("box", r"row 12: .* is 8 x 8 px, but its optics group has rlnImageSize 10"),
    ],
)
@pytest.mark.parametrize("method", ["read", "verify"])
def test_bad_stacks_are_named_with_their_row(
    tmp_path: Path, kind: str, message: str, method: str
) -> None:
    name = bad_stack(tmp_path, kind)
    good = f"1@{write_stack(tmp_path / 'good.mrcs', np.zeros((1, 10, 10), np.float32))}"
    if kind != "box":
        good = f"1@{write_stack(tmp_path / 'good.mrcs', np.zeros((1, 8, 8), np.float32))}"
    box = 10 if kind == "box" else 8
    reader = ImageReader("p.star")
    names, boxes = ImageNames([good, name]), np.array([box, box])
    ask = {
        "read": lambda: reader.read(names.names, [3, 12], box),
        "verify": lambda: reader.verify(names, [3, 12], boxes),
    }[method]
    with pytest.raises(ImageError, match=message) as error:
        ask()
    assert "\n" not in str(error.value)


def test_boxes_must_agree_in_one_request(tmp_path: Path) -> None:
    a = write_stack(tmp_path / "a.mrcs", np.zeros((1, 8, 8), np.float32))
    b = write_stack(tmp_path / "b.mrcs", np.zeros((1, 8, 10), np.float32))
    with pytest.raises(ImageError, match=r"row 2: .* is 10 x 8 px"):
        ImageReader().read([f"1@{a}", f"1@{b}"])
    assert ImageReader().read([], box_px=8).shape == (0, 8, 8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_statistics_of_a_map_of_many_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type
) -> None:
    """A mean far from zero, a last chunk that is short, and axes in another order."""
    monkeypatch.setattr(mrc_module, "_CHUNK_VOXELS", 100)
    data = RNG.normal(500.0, 0.25, size=(7, 9, 11)).astype(dtype).transpose(2, 0, 1)
    write_map(tmp_path / "map.mrc", data, 1.0)
    stored = data.astype(np.float32).astype(np.float64)
    with mrcfile.open(tmp_path / "map.mrc") as mrc:
        np.testing.assert_array_equal(mrc.data, stored)
        found = [float(mrc.header[name]) for name in ("dmin", "dmax", "dmean", "rms")]
    expected = [stored.min(), stored.max(), stored.mean(), stored.std()]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    data[10, 6, 8] = -np.inf
    with pytest.raises(NumericalError, match="infinite"):
        write_map(tmp_path / "map.mrc", data, 1.0)
