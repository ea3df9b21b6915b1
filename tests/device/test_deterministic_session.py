"""Deterministic sessions: nothing is measured, and what happens to be free does not count."""

from __future__ import annotations

from typing import Any

import pytest

from clrelion.device import capabilities, fft, line_fft
from clrelion.device import memory_info as module
from clrelion.device.line_kernel import longest_line
from clrelion.device.measured_times import MeasuredTimes
from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceError


@pytest.fixture
def fixed(session: DeviceSession) -> DeviceSession:
    """Open a deterministic session on the test device."""
    return DeviceSession(session.info, deterministic=True)


@pytest.mark.parametrize("is_cpu", [True, False])
def test_the_budget_does_not_depend_on_what_is_free(
    fixed: DeviceSession, monkeypatch: pytest.MonkeyPatch, is_cpu: bool
) -> None:
    fixed.is_cpu = is_cpu
    budgets = []
    for free in (10**8, 10**10):
        monkeypatch.setattr(module, "free_memory_bytes", lambda _info, free=free: free)
        monkeypatch.setattr(module, "host_available_bytes", lambda free=free: free)
        budgets.append(fixed.memory_budget())
    assert budgets[0] == budgets[1]
    assert 0 < budgets[0].bytes <= 0.8 * fixed.info.global_memory_bytes
    if is_cpu:
        assert budgets[0].bytes <= 0.2 * fixed.info.global_memory_bytes
    assert fixed.memory_budget(10**6).bytes == 10**6


def test_no_transform_is_measured(fixed: DeviceSession, monkeypatch: pytest.MonkeyPatch) -> None:
    def trial(*_: Any) -> float:
        raise AssertionError("measured")

    monkeypatch.setattr(fft, "_trial_seconds", trial)
    monkeypatch.setattr(line_fft, "_trial_seconds", trial)
    monkeypatch.setattr(MeasuredTimes, "get", trial)
    fixed.is_cpu = False
    for n_images in (1000, None):
        assert fft._fastest_backend(fixed, 64, n_images) == "kernel"
    assert fft._fastest_backend(fixed, 2 * longest_line(fixed), None) == "host"
    assert line_fft.line_fft(fixed, 44, n_lines_expected=1e12).backend == "kernel"
    fixed.is_cpu = True
    assert fft._fastest_backend(fixed, 64, None) == "host"


def test_integer_atomics_are_probed(
    session: DeviceSession, fixed: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fixed.template_params["integer_atomics"]
    assert found in capabilities.INTEGER_ATOMICS_PATHS
    assert session.template_params["integer_atomics"] == "none"
    has_long = "cl_khr_int64_base_atomics" in session.device.extensions
    assert found == ("long" if has_long else "carry")
    broken = {"long"}
    adds = capabilities._Prober._integer_atomics
    monkeypatch.setattr(
        capabilities._Prober,
        "_integer_atomics",
        lambda prober, path: path not in broken and adds(prober, path),
    )
    opened = DeviceSession(session.info, deterministic=True)
    assert opened.template_params["integer_atomics"] == "carry"
    broken.add("carry")
    with pytest.raises(DeviceError, match="drop --deterministic"):
        DeviceSession(session.info, deterministic=True)
