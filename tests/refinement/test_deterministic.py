"""``--deterministic`` is refused where repeats cannot be bit-identical."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from clrelion.errors import OptionsError
from clrelion.options import RefineOptions
from clrelion.refinement import run, set_up


def _session(is_cpu: bool) -> SimpleNamespace:
    return SimpleNamespace(
        is_cpu=is_cpu,
        info=SimpleNamespace(label="a device", driver="1", kind="cpu"),
        n_compute_units=2,
        profile=SimpleNamespace(),
    )


@pytest.mark.parametrize(("is_cpu", "refused"), [(False, True), (True, False)])
def test_only_cpus(is_cpu: bool, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_up, "open_session", lambda *_: _session(is_cpu))

    def stop(*_args: object) -> None:
        raise RuntimeError("the particles are read")

    monkeypatch.setattr(set_up, "read_particles", stop)
    options = RefineOptions.model_validate(
        {
            "particles_star": "particles.star",
            "reference": "ref.mrc",
            "output_root": "run",
            "deterministic": True,
        }
    )
    expected = OptionsError if refused else RuntimeError
    with pytest.raises(expected, match="no fixed order" if refused else "particles are read"):
        run.run_refinement(options, "clrelion_refine")
