"""Threads of the host: those of transforms, and those that must not disturb a run."""

from __future__ import annotations

import gc
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from clrelion.cli.parser import parse_refine
from clrelion.errors import DeviceError
from clrelion.fourier.transforms import set_workers, workers_or_default
from clrelion.options import RefineOptions
from clrelion.refinement import devices, run
from clrelion.refinement.host_threads import undisturbed
from tests.reference.refine_program import CLASS3D, changed, write_small_set


def _no_device(spec: str, index: int) -> None:
    raise DeviceError(f"no device {spec}")


@pytest.mark.parametrize("n_threads", [1, 7])
def test_option_sets_the_threads(n_threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # stops the run before it reads a file
    monkeypatch.setattr(devices, "choose_device", _no_device)
    options = RefineOptions.model_validate(
        {
            "particles_star": "particles.star",
            "reference": "ref.mrc",
            "output_root": "run",
            "n_threads": n_threads,
        }
    )
    try:
        with pytest.raises(DeviceError, match="no device auto"):
            run.run_refinement(options, "clrelion_refine")
        assert workers_or_default() == n_threads
    finally:
        set_workers(None)


def _blas_threads() -> list[int]:
    assert np.ones((3, 3)).dot(np.ones(3)).sum() == 9  # the library is there
    return [found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"]


def test_undisturbed_leaves_nothing_behind() -> None:
    interval = sys.getswitchinterval()
    with threadpool_limits(2, "blas"):
        assert set(_blas_threads()) == {2}
        with undisturbed():
            assert set(_blas_threads()) == {1}
            assert sys.getswitchinterval() < interval
            assert gc.get_freeze_count() > 0
        assert set(_blas_threads()) == {2}
    assert sys.getswitchinterval() == interval
    assert gc.get_freeze_count() == 0


def test_a_run_is_undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_small_set(tmp_path, n=8)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    arguments = changed(CLASS3D, "--iter 1")
    found: list[int] = []
    with threadpool_limits(2, "blas"):
        run.run_refinement(
            parse_refine(shlex.split(arguments)).options,
            arguments,
            on_written=lambda _: found.extend(_blas_threads()),
        )
        assert set(found) == {1}
        assert set(_blas_threads()) == {2}
