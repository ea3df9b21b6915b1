"""Each iteration of RELION's step-by-step runs: state and data files in, next state out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import starfile

from clrelion.orientations.euler import angles_distance_deg
from clrelion.orientations.symmetry import PointGroup
from clrelion.refinement.schedule import (
    SamplingState,
    SchedulePolicy,
    ScheduleState,
    current_resolution,
    hidden_variable_changes,
    image_sizes,
    measure_changes,
    record_resolution,
    update_increment,
)

# folder, last iteration, ini_high in Å, does the first iteration use cross-correlation, offset
# range and step in px, HEALPix order
RUNS: list[tuple[str, int, float, bool, float, float, int]] = [
    ("pol/base", 3, 50.0, True, 3, 2, 1),
    ("pol/K2", 3, 50.0, True, 3, 2, 1),
    ("pol/auto", 4, 50.0, True, 3, 2, 1),
    ("pol/nocc", 2, 50.0, False, 3, 2, 1),
    ("pol/pert", 3, 50.0, True, 3, 2, 1),
    ("pol/full", 2, 50.0, True, 3, 2, 1),
    ("bg/base", 3, 50.0, True, 3, 1, 2),
    ("bg/c4", 2, 50.0, True, 3, 2, 2),
    ("bg/loc", 2, 30.0, False, 3, 1.6, 3),
    ("bg/os0", 2, 50.0, True, 3, 1, 2),
    ("bg/os2", 2, 50.0, True, 3, 2, 1),
]


def read_blocks(path: Path) -> dict[str, Any]:
    return dict(starfile.read(path, always_dict=True))


class Step:
    """The files of one iteration."""

    def __init__(self, folder: Path, iteration: int) -> None:
        root = f"run_it{iteration:03d}"
        is_split = (folder / f"{root}_half1_model.star").exists()
        self.model = read_blocks(folder / f"{root}{'_half1' if is_split else ''}_model.star")
        self.general = self.model["model_general"]
        self.optimiser = read_blocks(folder / f"{root}_optimiser.star")["optimiser_general"]
        self.particles = read_blocks(folder / f"{root}_data.star")["particles"]
        self.is_split = is_split

    def columns(self, *labels: str) -> np.ndarray[Any, Any]:
        """Particle columns in a fixed order, 0 where absent."""
        frame = self.particles.sort_values("rlnImageName")
        absent = np.zeros(len(frame))
        return np.stack([frame.get(label, absent) for label in labels], axis=-1)

    def spectra(self, label: str) -> np.ndarray[Any, Any]:
        n_classes = int(self.general["rlnNrClasses"])
        return np.stack([self.model[f"model_class_{k + 1}"][label] for k in range(n_classes)])

    def state(self) -> ScheduleState:
        o = self.optimiser
        resolution_angst = float(self.general["rlnCurrentResolution"])
        return ScheduleState(
            current_resolution_inv_angst=1.0 / resolution_angst,
            best_resolution_inv_angst=float(o["rlnBestResolutionThusFar"]),
            nr_iter_wo_resol_gain=int(o["rlnNumberOfIterWithoutResolutionGain"]),
            nr_iter_wo_changes=int(o["rlnNumberOfIterWithoutChangingAssignments"]),
            current_changes_classes=float(o["rlnChangesOptimalClasses"]),
            current_changes_offsets_angst=float(o["rlnChangesOptimalOffsets"]),
            current_changes_orientations_deg=float(o["rlnChangesOptimalOrientations"]),
            smallest_changes_classes=int(o["rlnSmallestChangesClasses"]),
            smallest_changes_offsets_angst=float(o["rlnSmallestChangesOffsets"]),
            smallest_changes_orientations_deg=float(o["rlnSmallestChangesOrientations"]),
            incr_size=int(o["rlnIncrementImageSize"]),
            has_high_fsc=bool(int(o["rlnHasHighFscAtResolLimit"])),
            acc_rot_deg=float(o["rlnOverallAccuracyRotations"]),
            acc_trans_angst=float(o["rlnOverallAccuracyTranslationsAngst"]),
            ave_pmax=float(self.general["rlnAveragePmax"]),
        )


def next_state(
    before: Step,
    after: Step,
    iteration: int,
    run: tuple[str, int, float, bool, float, float, int],
) -> tuple[ScheduleState, int]:
    """State after `iteration` and the current size in it, from the files around it."""
    name, _, ini_high, is_cc, range_px, step_px, order = run
    pixel_size = float(after.general["rlnPixelSize"])
    oversampling = int(after.optimiser["rlnAdaptiveOversampleOrder"])
    policy = SchedulePolicy(
        is_auto_refine=after.is_split, oversampling=oversampling, particle_diameter_angst=200.0
    )
    translations = (range_px * pixel_size, step_px * pixel_size)
    sampling = SamplingState(order, 360 / (6 * 2**order), *translations, order, 0.0, *translations)
    resolution: dict[str, Any] = {
        "pixel_size_angst": pixel_size,
        "ini_high_angst": ini_high,
        "is_first_iteration_cc": is_cc,
        "is_gold_standard": after.is_split,
    }
    state = before.state()
    if iteration == 1:
        at_start = current_resolution(before.spectra("rlnSsnrMap"), iteration=0, **resolution)
        state = record_resolution(ScheduleState(incr_size=state.incr_size), at_start)
    box = int(after.general["rlnOriginalImageSize"])
    sizes = image_sizes(
        state,
        sampling,
        policy,
        ori_size=box,
        pixel_size_angst=pixel_size,
        image_boxes_px=[box],
        image_pixel_sizes_angst=[pixel_size],
    )
    group = PointGroup.from_name({"pol": "C1", "bg": "D2"}[name[:3].strip("/")])
    turned = PointGroup.from_name("C4") if name == "bg/c4" else group
    changes = measure_changes(
        angles_distance_deg(
            after.columns("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"),
            before.columns("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"),
            turned.operators,
        ),
        after.columns("rlnOriginXAngst", "rlnOriginYAngst").T,
        before.columns("rlnOriginXAngst", "rlnOriginYAngst").T,
        after.columns("rlnClassNumber"),
        before.columns("rlnClassNumber"),
    )
    if after.is_split:
        fsc = after.spectra("rlnGoldStandardFsc")[0]
        state = update_increment(state, fsc, sizes.current_size)
    state = hidden_variable_changes(
        state, changes, sampling, oversampling, start_sampling_of_run=sampling
    )
    new = current_resolution(after.spectra("rlnSsnrMap"), iteration=iteration, **resolution)
    return record_resolution(state, new), sizes.current_size


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run[0])
def test_state_of_every_iteration(
    shared: Path, run: tuple[str, int, float, bool, float, float, int]
) -> None:
    folder = shared / "data" / "steps" / run[0]
    steps = [Step(folder, iteration) for iteration in range(run[1] + 1)]
    for iteration in range(1, run[1] + 1):
        state, current_size = next_state(steps[iteration - 1], steps[iteration], iteration, run)
        written = steps[iteration].state()
        assert current_size == int(steps[iteration].general["rlnCurrentImageSize"])
        for label in (
            "nr_iter_wo_resol_gain",
            "nr_iter_wo_changes",
            "smallest_changes_classes",
            "incr_size",
            "has_high_fsc",
        ):
            assert getattr(state, label) == getattr(written, label), label
        for label in (
            "current_resolution_inv_angst",
            "best_resolution_inv_angst",
            "current_changes_classes",
            "current_changes_offsets_angst",
            "current_changes_orientations_deg",
            "smallest_changes_offsets_angst",
            "smallest_changes_orientations_deg",
        ):
            got, expected = getattr(state, label), getattr(written, label)
            assert got == pytest.approx(expected, rel=3e-6, abs=2e-6), label


def test_resolution_of_the_converged_iteration(shared: Path) -> None:
    model = read_blocks(shared / "data" / "steps" / "pol" / "fin" / "run_model.star")
    resolution = current_resolution(
        model["model_class_1"]["rlnSsnrMap"], pixel_size_angst=4.0, iteration=5
    )
    written = float(model["model_general"]["rlnCurrentResolution"])
    assert 1 / resolution == pytest.approx(written, abs=1e-6)


def test_resolution_and_size_of_a_classification(shared: Path) -> None:
    folder = shared / "data" / "polii_k2_64" / "relion5"
    policy = SchedulePolicy(is_auto_refine=False, oversampling=1, particle_diameter_angst=200.0)
    sampling = SamplingState(2, 15.0, 20.0, 8.0, 2, 15.0, 20.0, 8.0)
    state = ScheduleState()
    for iteration in range(26):
        path = folder / f"run_it{iteration:03d}_model.star"
        if iteration and not path.exists():
            pytest.fail(f"{path} is missing")
        model = read_blocks(path)
        general = model["model_general"]
        if iteration:
            sizes = image_sizes(
                state,
                sampling,
                policy,
                ori_size=64,
                pixel_size_angst=4.0,
                image_boxes_px=[64],
                image_pixel_sizes_angst=[4.0],
            )
            assert sizes.current_size == int(general["rlnCurrentImageSize"])
        spectra = np.stack([model[f"model_class_{k}"]["rlnSsnrMap"] for k in (1, 2)])
        resolution = current_resolution(
            spectra,
            pixel_size_angst=4.0,
            iteration=iteration,
            ini_high_angst=50.0,
            is_first_iteration_cc=True,
        )
        state = record_resolution(state, resolution)
        if iteration:
            written = float(general["rlnCurrentResolution"])
            assert 1 / resolution == pytest.approx(written, abs=1e-6)
