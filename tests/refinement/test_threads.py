"""``--j`` limits the threads of the host's transforms."""

from __future__ import annotations

import pytest

from clrelion.errors import DeviceError
from clrelion.fourier.transforms import set_workers, workers_or_default
from clrelion.options import RefineOptions
from clrelion.refinement import devices, run


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
