"""The page and figures of a run, from files as a run leaves them."""

import builtins
import logging
from pathlib import Path

import numpy as np
import pytest

from clrelion.errors import StarError
from clrelion.io.mrc import write_map
from clrelion.io.run_files import (
    ModelFile,
    SamplingFile,
    class_map_file,
    model_file,
    sampling_file,
    write_model,
    write_sampling,
)
from clrelion.report.run_record import read_run
from clrelion.report.summary import make_report

BOX = 16
N_SHELLS = BOX // 2 + 1


def model(n_classes: int, resolution_angst: float, class_files: list[str]) -> ModelFile:
    spectra = np.tile(np.linspace(1.0, 0.0, N_SHELLS), (n_classes, 1))
    per_class = np.full(n_classes, 1.0)
    return ModelFile(
        ori_size=BOX, pixel_size_angst=4.0, current_resolution_angst=resolution_angst,
        current_size=BOX, padding_factor=2.0, n_classes=n_classes, tau2_fudge=1.0,
        avg_norm_correction=1.0, sigma_offset_angst=5.0, orientational_prior_mode=0,
        sigma_rot_deg=0.0, sigma_tilt_deg=0.0, sigma_psi_deg=0.0, log_likelihood=0.0,
        ave_pmax=0.5, class_files=class_files, pdf_class=per_class / n_classes,
        acc_rot_deg=2.0 * per_class, acc_trans_angst=per_class,
        estimated_resolution_angst=resolution_angst * per_class,
        overall_completeness=per_class, data_vs_prior=100.0 * spectra,
        fsc_halves=spectra if n_classes == 1 else 0 * spectra, fourier_coverage=spectra,
        sigma2_class=spectra, tau2=spectra, group_names=["a"], group_n_particles=np.array([7]),
        scale_correction=np.ones(1), sigma2_noise=np.ones((1, N_SHELLS)),
    )  # fmt: skip


def write_iteration(
    root: str, iteration: int | None, resolution_angst: float, n_classes: int = 1, half_set: int = 0
) -> None:
    rng = np.random.default_rng(1)
    maps = [class_map_file(root, iteration, k, half_set) for k in range(n_classes)]
    for name in maps:
        write_map(name, rng.normal(size=(BOX, BOX, BOX)), 4.0)
    write_model(model_file(root, iteration, half_set), model(n_classes, resolution_angst, maps))
    grid = SamplingFile(
        healpix_order=3, symmetry="C1", limit_tilt_deg=-91.0, psi_step_deg=7.5,
        offset_range_angst=20.0, offset_step_angst=8.0, perturbation=0.0, perturbation_factor=0.5,
        healpix_order_original=2, psi_step_original_deg=15.0, offset_range_original_angst=20.0,
        offset_step_original_angst=8.0, rot_deg=np.zeros(1), tilt_deg=np.zeros(1),
    )  # fmt: skip
    write_sampling(sampling_file(root, iteration), grid)


@pytest.fixture
def auto_refine(tmp_path: Path) -> str:
    root = str(tmp_path / "run")
    for iteration, resolution in ((0, 60.0), (1, 31.25), (2, 20.5)):
        for half_set in (1, 2):
            write_iteration(root, iteration, resolution, half_set=half_set)
    write_iteration(root, None, 17.125)
    return root


def test_auto_refine_is_read_in_order(auto_refine: str) -> None:
    records = read_run(auto_refine)
    assert [r.label for r in records] == ["0", "1", "2", "final"]
    assert [r.model.current_resolution_angst for r in records] == [60.0, 31.25, 20.5, 17.125]
    assert len(records[2].maps) == 2
    assert records[-1].maps == [f"{auto_refine}_class001.mrc"]
    assert records[1].sampling is not None
    assert records[1].sampling.healpix_order == 3


def test_neighbouring_runs_are_left_out(auto_refine: str) -> None:
    write_iteration(str(Path(auto_refine).with_name("other_run")), 7, 10.0)
    write_iteration(f"{auto_refine}2", 9, 10.0)
    assert len(read_run(auto_refine)) == 4


def test_page_holds_numbers_and_pictures(auto_refine: str) -> None:
    pytest.importorskip("matplotlib")
    page = make_report(auto_refine)
    assert page == Path(f"{auto_refine}_report.html")
    text = page.read_text(encoding="utf-8")
    assert "<b>17.12 Å</b>" in text or "<b>17.13 Å</b>" in text
    assert text.count("<tr>") == 1 + 4
    assert text.count("data:image/png;base64,") == 4
    assert "http" not in text  # nothing is fetched
    for kind in ("slices", "fsc", "ssnr", "progress"):
        png = Path(f"{auto_refine}_report_{kind}.png").read_bytes()
        assert png.startswith(b"\x89PNG")


def test_what_was_not_estimated_is_left_open(tmp_path: Path) -> None:
    root = str(tmp_path / "run")
    write_iteration(root, 1, 30.0)
    start = model(1, 40.0, ["ref.mrc"])
    start.current_size, start.ave_pmax = 0, 0.0
    start.acc_rot_deg = start.acc_trans_angst = np.array([999.0])
    write_model(model_file(root, 0), start)
    text = make_report(root).read_text(encoding="utf-8")
    assert "<td>999" not in text
    assert text.count("<td>–</td>") == 4
    assert "<td>2.00</td>" in text


def test_classification_has_no_fsc(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    root = str(tmp_path / "run")
    write_iteration(root, 0, 40.0, n_classes=2)
    write_iteration(root, 1, 25.0, n_classes=2)
    text = make_report(root).read_text(encoding="utf-8")
    assert not Path(f"{root}_report_fsc.png").exists()
    assert "50.0 50.0" in text


def test_without_matplotlib_one_line_says_so(
    auto_refine: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real_import = builtins.__import__

    def without_matplotlib(name: str, *rest: object) -> object:
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real_import(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    caplog.set_level(logging.INFO)
    text = make_report(auto_refine).read_text(encoding="utf-8")
    assert "data:image/png" not in text
    assert "17.1" in text
    assert [record.getMessage() for record in caplog.records] == [
        "The report has no figures: pip install clrelion[report] (matplotlib)"
    ]


def test_no_run_with_this_root(tmp_path: Path) -> None:
    with pytest.raises(StarError, match="no model file of a run with this root"):
        make_report(str(tmp_path / "run"))
