"""Sizes in memory as people write them."""

from __future__ import annotations

import re

__all__ = ["byte_size"]

_THOUSANDS = {"": 2, "K": 1, "M": 2, "G": 3, "T": 4}
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([KMGT]?)(I?)B?\s*", re.IGNORECASE)


def byte_size(text: str) -> int:
    """Read a size: ``12GB``, ``64 M``, ``1.5GiB``; a number alone is MB, as RELION's are.

    KB, MB, GB, TB are powers of 1000, as in everything that is printed; KiB, MiB, GiB, TiB powers
    of 1024.

    Raises
    ------
    ValueError
        Not a positive number with one of these units.
    """
    found = _SIZE.fullmatch(text)
    if found is None or float(found[1]) <= 0 or (found[3] and not found[2]):
        raise ValueError(f"{text!r} is no size: write a number of MB, or with a unit, e.g. 12GB")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** _THOUSANDS[found[2].upper()])
