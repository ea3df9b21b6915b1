"""Sessions, probes, self-test, table and profile."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyopencl as cl
import pytest

from clrelion.device import capabilities, self_test, table
from clrelion.device import session as session_module
from clrelion.device.boxes import read_box, write_box
from clrelion.device.profile import Profile
from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceError, OptionsError
from tests.reference.device import clear_array
from tests.reference.held_device import while_held


def test_precisions(session: DeviceSession, session_double: DeviceSession) -> None:
    assert (session.real, session.complex) == (np.float32, np.complex64)
    assert (session_double.real, session_double.complex) == (np.float64, np.complex128)
    assert session_double.template_params["real"] == "double"
    with pytest.raises(OptionsError, match="single or double"):
        DeviceSession(session.info, "half")


def test_no_double_precision_is_refused(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    poor = replace(session.capabilities, fp64=False, double_atomics="none")
    monkeypatch.setattr(capabilities, "probe", lambda device, context=None: poor)
    with pytest.raises(DeviceError, match="--precision single"):
        DeviceSession(session.info, "double")


def test_probe_results(session: DeviceSession) -> None:
    found = session.capabilities
    assert found.float_atomics in capabilities.FLOAT_ATOMICS_PATHS
    assert (found.language == "CL3.0") == ("ext" in (found.float_atomics, found.double_atomics))
    assert capabilities.probe(session.device) is found


def test_probe_does_not_believe_a_wrong_result(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    prober = capabilities._Prober(session.device, None)
    assert prober.run().float_atomics == session.capabilities.float_atomics
    monkeypatch.setattr(prober, "_run_probe", lambda *args, **kwargs: np.zeros(8))
    with pytest.raises(DeviceError, match="plain kernel"):
        prober.run()


def test_failing_probes_fall_back(session: DeviceSession, monkeypatch: pytest.MonkeyPatch) -> None:
    # every vendor path is tried, fails to build here, and compare-exchange remains
    prober = capabilities._Prober(session.device, None)
    monkeypatch.setattr(
        prober, "_is_candidate", lambda path, precision: path in ("nv_v4", "nv", "amd", "cas")
    )
    monkeypatch.setattr(prober, "is_nvidia", True)
    if "NVIDIA" in session.info.platform_vendor:
        pytest.skip("the PTX paths work here")
    found = prober.run()
    assert (found.float_atomics, found.tensor) == ("cas", "none")


def test_self_test_passes(session: DeviceSession, session_double: DeviceSession) -> None:
    for opened in (session, session_double):
        result = self_test.self_test(opened)
        assert (result.passed, result.message) == (True, "passed")
        assert 0 < result.seconds < 20


@pytest.fixture
def wrong_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that computes wrong sums and does not compile one kernel."""
    scatter = self_test._SCATTER.replace("REAL(2) * v", "REAL(3) * v")
    monkeypatch.setattr(self_test, "_SCATTER", scatter)
    reduction = self_test._REDUCTION.replace("group_sum(", "no_such_function(")
    monkeypatch.setattr(self_test, "_REDUCTION", reduction)


@pytest.mark.usefixtures("wrong_kernels")
def test_self_test_fails_on_wrong_results(
    session: DeviceSession, caplog: pytest.LogCaptureFixture
) -> None:
    result = self_test.self_test(session)
    assert not result.passed
    assert "atomic scatter: relative error" in result.message
    assert "work-group reduction: " in result.message
    assert "arithmetic" not in result.message
    assert len(caplog.records) == 1


def test_table(session: DeviceSession) -> None:
    rows = table.device_table()
    row = next(r for r in rows if r.device == session.info.name)
    assert row.passed
    assert row.float_atomics == session.capabilities.float_atomics_name
    text = table.format_table(rows)
    assert session.info.name in text
    assert "self-test         passed" in text


@pytest.mark.usefixtures("wrong_kernels")
def test_table_keeps_failing_devices(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(session.info, name="broken", handle=None)
    monkeypatch.setattr(table, "list_devices", lambda: [broken, session.info])
    first, second = table.device_table()
    assert (first.passed, second.passed) == (False, False)
    assert first.self_test.startswith("failed: ")
    assert "atomic scatter" in second.self_test


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_boxes(session: DeviceSession, dtype: type[np.floating[Any]]) -> None:
    """The beginnings of lines, whole lines, and one line of one plane."""
    rng = np.random.default_rng(5)
    for corner, shape in (((2, 1), (4, 3, 5, 4)), ((0, 0), (7, 6, 9, 4)), ((6, 5), (1, 1, 1, 4))):
        volume = rng.normal(size=(7, 6, 9, 4)).astype(dtype)
        place = (*(slice(c, c + n) for c, n in zip(corner, shape, strict=False)), slice(shape[2]))
        volume_d, box = session.to_device(volume), np.zeros(shape, dtype)
        read_box(session, volume_d, *corner, box)
        np.testing.assert_array_equal(box, volume[place])
        write_box(session, volume_d, *corner, 2 * box)
        volume[place] *= 2
        np.testing.assert_array_equal(session.to_host(volume_d), volume)


def test_profile_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    finished: list[int] = []
    profile = Profile(lambda: finished.append(1))
    with profile.timer("getDiff"):
        now += 2.0
        with profile.timer("convert"):
            now += 4.0
    with pytest.raises(ValueError, match="x"), profile.timer("convert"):
        raise ValueError("x")
    assert profile.rows["getDiff"].seconds == pytest.approx(2.0)
    assert profile.rows["convert"].seconds == pytest.approx(4.0)
    assert profile.rows["convert"].count == 2
    assert len(finished) == 6
    lines = profile.table().splitlines()
    assert [line.split()[0] for line in lines] == ["step", "getDiff", "convert", "others", "total"]
    profile.reset()
    assert not profile.rows


def test_rows_by_the_clock_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """No border is waited for; a row has its own launches and the waits before them."""
    now, waits = 100.0, []
    done = cl.command_execution_status.COMPLETE

    def launch(begin: int, end: int) -> Any:
        times = SimpleNamespace(start=begin * 10**9, end=end * 10**9)
        return SimpleNamespace(command_execution_status=done, profile=times)

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    profile = Profile(lambda: waits.append(now), works_ahead=True)
    profile.launched("before", launch(0, 1))
    with profile.timer("set-up"):
        profile.launched("a", launch(5, 6))
        with profile.timer("getDiff"):
            profile.launched("b", launch(7, 9))
            profile.launched("c", launch(9, 10))
            with profile.timer("convert"):
                profile.launched("d", launch(12, 13))
            profile.launched("e", launch(13, 15))
        now += 14.0
    # of 14 s the launches from 5 to 15 take 10
    assert profile.seconds() == pytest.approx({"getDiff": 6.0, "convert": 3.0, "set-up": 5.0})
    with profile.timer("set-up"):
        profile.launched("f", launch(40, 41))
        now += 3.0
    assert profile.rows["set-up"].seconds == pytest.approx(8.0)
    # what the device has not done when a timer ends is taken off that timer and those after it
    late = launch(50, 60)
    late.command_execution_status = cl.command_execution_status.RUNNING
    with profile.timer("store"):
        profile.launched("g", late)
        now += 3.0
    with profile.timer("maximization"):
        now += 9.0
    assert not waits
    late.command_execution_status = done
    found = profile.seconds()
    assert (found["store"], found["maximization"]) == pytest.approx((10.0, 2.0))


def test_rows_are_waited_for() -> None:
    running = SimpleNamespace(
        command_execution_status=cl.command_execution_status.RUNNING,
        profile=SimpleNamespace(start=0, end=10**9),
    )

    def finish() -> None:
        running.command_execution_status = cl.command_execution_status.COMPLETE

    profile = Profile(finish, works_ahead=True)
    with profile.timer("getImg"):
        profile.launched("a", running)  # type: ignore[arg-type]
    assert profile.seconds()["getImg"] == pytest.approx(1.0)


def test_rows_of_a_queue_with_its_own_clock(session: DeviceSession) -> None:
    ahead = DeviceSession(session.info, works_ahead=True)
    images = ahead.zeros((1, 256, 256), np.float32)
    output = ahead.empty((1, 256, 256), np.complex64)
    started = time.perf_counter()
    with ahead.profile.timer("set-up"):
        for row in ("getImg", "store", "getImg"):
            with ahead.profile.timer(row):
                ahead.kernel("device/widen_to_complex")((65536,), (64,), images, output, 0, 65536)
        pending = ahead.to_host_later(output, images)
        ahead.fill_zero(output)
    elapsed = time.perf_counter() - started
    rows = ahead.profile.rows
    assert {name: row.count for name, row in rows.items()} == {
        "getImg": 2, "store": 1, "set-up": 1,
    }  # fmt: skip
    assert all(row.seconds >= 0 for row in rows.values())
    assert 0 < sum(row.seconds for row in rows.values()) <= elapsed
    first, second = pending.result()
    assert (first.shape, second.shape) == ((1, 256, 256), (1, 256, 256))
    assert pending.result()[0] is first


def test_reads_do_not_wait_for_later_work(session: DeviceSession) -> None:
    """What is read later is there as soon as it was ready, whatever has been enqueued since."""
    ahead = DeviceSession(session.info, works_ahead=True)
    values = np.arange(1000, dtype=np.float32)
    pending = ahead.to_host_later(ahead.to_device(values))
    found = while_held(ahead, pending.result)
    np.testing.assert_array_equal(found[0], values)
    ahead.finish()


def test_kernel_times(session: DeviceSession) -> None:
    timed = DeviceSession(session.info, profiling=True)
    images = timed.zeros((1, 8, 8), np.float32)
    output = timed.empty((1, 8, 8), np.complex64)
    for _ in range(3):
        timed.kernel("device/widen_to_complex")((64,), (64,), images, output, 0, 64)
    text = timed.profile.table()
    assert timed.profile.kernels["widen_to_complex"].count == 3
    assert timed.profile.kernels["widen_to_complex"].seconds > 0
    assert "widen_to_complex" in text


def test_clear_array(session: DeviceSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large arrays are set to zero by the kernel clear_array, whole and nothing beyond."""
    monkeypatch.setattr(session_module, "_LARGEST_FILL_BYTES", 100)
    for dtype, n in ((np.float32, 1004), (np.complex64, 502), (np.int64, 50), (np.float32, 27)):
        array = session.to_device(np.ones(n, dtype))
        session.fill_zero(array)
        np.testing.assert_array_equal(session.to_host(array), 0)
    # nothing behind the end of a launch that is rounded up
    words = session.to_device(np.ones((20, 4), np.uint32))
    session.kernel("device/clear_array")((64,), (64,), words, 17)
    found = session.to_host(words)
    np.testing.assert_array_equal(found[:17], clear_array(17))
    assert found[17:].all()
