"""What a run says after each iteration, in RELION's words."""

from __future__ import annotations

import numpy as np

from clrelion.options import RefineOptions
from clrelion.refinement.state import RunState

__all__ = ["iteration_lines", "rank_lines", "resolution_angst"]

_MOST_RANKS = 8


def resolution_angst(state: RunState) -> float:
    """Resolution of the state, Å; infinite if there is none."""
    resolution = state.schedule.current_resolution_inv_angst
    return 1.0 / resolution if resolution > 0 else np.inf


def iteration_lines(state: RunState, options: RefineOptions) -> list[str]:
    """Resolution, changes, sampling and class sizes after an iteration."""
    schedule, sampling = state.schedule, state.sampling
    name = "Auto-refine" if options.auto_refine else f"Iteration {state.iteration}"
    lines = [
        f"{name}: Resolution= {resolution_angst(state):.3f} Angstroms (no gain for "
        f"{schedule.nr_iter_wo_resol_gain} iter), current size {state.current_size} px",
        f"  Changes in angles= {schedule.current_changes_orientations_deg:.3f} degrees; and in "
        f"offsets= {schedule.current_changes_offsets_angst:.3f} Angstroms (no gain for "
        f"{schedule.nr_iter_wo_changes} iter)",
        f"  Angular step= {sampling.fine_angular_step_deg(options.oversampling):.3f} degrees; "
        f"local searches= {'true' if sampling.has_orientation_priors else 'false'}; offset step "
        f"{sampling.fine_offset_step_angst(options.oversampling):.2f}, range "
        f"{sampling.offset_range_angst:.2f} Angstroms; average Pmax= {schedule.ave_pmax:.4f}",
    ]
    if state.n_classes > 1:
        sizes = ", ".join(f"{100 * p:.1f}" for p in state.models[0].pdf_class)
        changed = 100 * schedule.current_changes_classes
        lines.append(f"  Class sizes (%): {sizes}; {changed:.1f} % of the particles changed class")
    return lines


def rank_lines(of_ranks: list[dict[str, float]]) -> list[str]:
    """Seconds of each step on each rank; of many ranks the least, the mean and the most."""
    names = list(dict.fromkeys(name for seconds in of_ranks for name in seconds))
    values = np.array([[seconds.get(name, 0.0) for seconds in of_ranks] for name in names])
    heads = [str(rank) for rank in range(len(of_ranks))]
    if len(of_ranks) > _MOST_RANKS:
        values = np.stack([values.min(1), values.mean(1), values.max(1)], 1)
        heads = ["least", "mean", "most"]
    lines = [f"{'seconds by rank':<24}" + "".join(f"{head:>9}" for head in heads)]
    for name, row in zip(names, values.tolist(), strict=True):
        lines.append(f"{name:<24}" + "".join(f"{value:>9.3f}" for value in row))
    return lines
