"""Header and pixels of MRC files: what maps and stacks have in common."""

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import ImageError

_HEADER_BYTES = 1024
_PACKED_4_BIT = 101
_DTYPE_OF_MODE = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2", _PACKED_4_BIT: "u1"}
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"(\xb5": "zstd", b"\xfd7": "xz"}


@dataclass(frozen=True)
class StackHeader:
    """Header of an MRC file.

    Attributes
    ----------
    nx, ny, nz
        Columns, rows, and images (or sections), px.
    mode
        MRC data mode: 0 int8, 1 int16, 2 float32, 6 uint16, 12 float16, 101 packed 4 bit.
    pixel_size_angst
        Cell length a divided by mx, Å; 0 if the header has none.
    data_offset
        Bytes before the first image.
    byte_order
        ``<`` or ``>``.
    """

    nx: int
    ny: int
    nz: int
    mode: int
    pixel_size_angst: float
    data_offset: int = _HEADER_BYTES
    byte_order: str = "<"

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of a stored element (a byte of two pixels in mode 101)."""
        return np.dtype(self.byte_order + _DTYPE_OF_MODE[self.mode])

    @property
    def stored_shape(self) -> tuple[int, int, int]:
        """Shape of the stored elements; two pixels a byte in mode 101."""
        columns = (self.nx + 1) // 2 if self.mode == _PACKED_4_BIT else self.nx
        return self.nz, self.ny, columns


def read_stack_header(path: str | os.PathLike[str]) -> StackHeader:
    """Read and check the header of an MRC map or stack.

    Parameters
    ----------
    path
        MRC file of either byte order.

    Raises
    ------
    ImageError
        Missing, compressed or no MRC file, unsupported mode, or shorter than its header says.

    Notes
    -----
    Specification E 2.8.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(_HEADER_BYTES)
            n_bytes = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if raw[:2] in _COMPRESSED:
        raise ImageError(
            f"{path}: is compressed ({_COMPRESSED[raw[:2]]}); uncompress it, "
            "images are read at random positions"
        )
    if len(raw) < _HEADER_BYTES:
        raise ImageError(
            f"{path}: is truncated: {n_bytes} bytes are less than an MRC header (1024 bytes); "
            "copy or extract it again"
        )
    header = _parse_header(raw, path)
    expected = header.data_offset + int(np.prod(header.stored_shape)) * header.dtype.itemsize
    if n_bytes < expected:
        raise ImageError(
            f"{path}: is truncated: {n_bytes} bytes, but {header.nz} x {header.ny} x {header.nx} "
            f"of mode {header.mode} need {expected}; copy or extract it again"
        )
    return header


def _parse_header(raw: bytes, path: str | os.PathLike[str]) -> StackHeader:
    """Header from its 1024 bytes; the byte order is the one that gives sensible numbers."""
    for order in "<>":
        words = np.frombuffer(raw, dtype=order + "i4")
        nx, ny, nz, mode = (int(word) for word in words[:4])
        if 0 <= mode <= 255 and 0 < nx < 2**16 and ny > 0 and nz > 0:
            break
    else:
        raise ImageError(f"{path}: is no MRC file (its size or mode makes no sense)")
    if mode not in _DTYPE_OF_MODE:
        raise ImageError(
            f"{path}: has MRC mode {mode}; supported are "
            f"{', '.join(str(known) for known in _DTYPE_OF_MODE)}: convert it to mode 2 (float32)"
        )
    mx, extended = int(words[7]), int(words[23])
    cell = float(np.frombuffer(raw, dtype=order + "f4")[10])
    pixel_size = cell / mx if mx > 0 and np.isfinite(cell) else 0.0
    return StackHeader(nx, ny, nz, mode, pixel_size, _HEADER_BYTES + max(extended, 0), order)


def map_memory(path: str | os.PathLike[str], header: StackHeader) -> NDArray[np.generic]:
    """Memory map of the stored elements, (nz, ny, stored columns)."""
    return np.memmap(path, header.dtype, "r", header.data_offset, header.stored_shape)


def copy_pixels(stored: NDArray[np.generic], header: StackHeader, out: NDArray[np.float32]) -> None:
    """Convert stored elements to float32 pixels."""
    if header.mode == _PACKED_4_BIT:
        pair = np.asarray(stored, dtype=np.uint8)
        out[..., 0::2] = pair & 15
        out[..., 1::2] = (pair >> 4)[..., : header.nx // 2]
    else:
        out[...] = stored
