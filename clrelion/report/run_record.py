"""What the files of a run say about it, iteration by iteration."""

import re
from dataclasses import dataclass
from pathlib import Path

from clrelion.errors import StarError
from clrelion.io.run_files import (
    ModelFile,
    SamplingFile,
    class_map_file,
    model_file,
    read_model,
    read_sampling,
    sampling_file,
)


@dataclass(frozen=True)
class IterationRecord:
    """One iteration on disk.

    Attributes
    ----------
    iteration
        Its number; None for the last, converged one of auto-refine.
    model
        The model file; that of half 1 while halves are apart.
    sampling
        The sampling file, None if there is none.
    maps
        Existing map files of the classes (both halves of auto-refine).
    """

    iteration: int | None
    model: ModelFile
    sampling: SamplingFile | None
    maps: list[str]

    @property
    def label(self) -> str:
        """Number of the iteration, or ``final``."""
        return "final" if self.iteration is None else str(self.iteration)


def read_run(root: str) -> list[IterationRecord]:
    """Read the model and sampling files of a run.

    Parameters
    ----------
    root
        Output root (``--o``) of the run.

    Returns
    -------
    list of IterationRecord
        In order; the converged iteration last.

    Raises
    ------
    StarError
        There is no model file with this root, or one cannot be read.
    """
    folder, name = Path(root).parent, re.escape(Path(root).name)
    pattern = re.compile(rf"{name}_it(\d{{3,}})(_half1)?_model\.star")
    found = [m for path in folder.glob("*_model.star") if (m := pattern.fullmatch(path.name))]
    records = [
        _read_iteration(root, int(m[1]), 1 if m[2] else 0)
        for m in sorted(found, key=lambda m: int(m[1]))
    ]
    if Path(model_file(root, None)).is_file():
        records.append(_read_iteration(root, None, 0))
    if not records:
        raise StarError(f"{root}_it*_model.star: there is no model file of a run with this root")
    return records


def _read_iteration(root: str, iteration: int | None, half_set: int) -> IterationRecord:
    model = read_model(model_file(root, iteration, half_set), with_directions=False)
    sampling = Path(sampling_file(root, iteration))
    halves = (1, 2) if half_set else (0,)
    maps = [
        class_map_file(root, iteration, i_class, half)
        for half in halves
        for i_class in range(model.n_classes)
    ]
    return IterationRecord(
        iteration=iteration,
        model=model,
        sampling=read_sampling(sampling, with_directions=False) if sampling.is_file() else None,
        maps=[name for name in maps if Path(name).is_file()],
    )
