"""Tests of devices measure and remember for themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from clrelion.device import measured_times


@pytest.fixture(autouse=True)
def nothing_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Times of transforms in a file of its own for each test."""
    path = tmp_path / "cache" / "transforms.json"
    monkeypatch.setattr(measured_times, "_path", lambda: path)
    return path
