"""The font of the PNG files: one of the system that has all signs, or Pillow's own."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

__all__ = ["font", "writable"]

_WANTED = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "NotoSans-Regular.ttf", "Arial.ttf")
# Pillow's own font has hardly more than ASCII.
_IN_ASCII = {"Å": "A", "µ": "u", "σ": "sigma", "²": "^2", "–": "-"}


@functools.cache
def _system_font() -> str | None:
    from PIL import ImageFont

    for name in _WANTED:
        try:
            return str(ImageFont.truetype(name).path)
        except OSError:
            continue
    return None


@functools.cache
def font(size: float) -> Font:
    """Give the font at a size, px."""
    from PIL import ImageFont

    path = _system_font()
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


def writable(text: str) -> str:
    """Give the text with signs that the font has."""
    if _system_font() is not None:
        return text
    for sign, letters in _IN_ASCII.items():
        text = text.replace(sign, letters)
    return text.encode("latin-1", "replace").decode("latin-1")
