"""The files of a run: their names (Specification E 6.1), and their contents by kind.

One import for all of them: ``ModelFile``, ``SamplingFile``, ``OptimiserFile`` with their readers
and writers.
"""

from pathlib import Path

from clrelion.io.model_file import ModelFile, read_model, write_model
from clrelion.io.optimiser_file import OptimiserFile, read_optimiser, write_optimiser
from clrelion.io.sampling_file import SamplingFile, read_sampling, write_sampling

__all__ = [
    "ModelFile",
    "OptimiserFile",
    "SamplingFile",
    "angular_distribution_file",
    "class_map_file",
    "data_file",
    "model_file",
    "optimiser_file",
    "read_model",
    "read_optimiser",
    "read_sampling",
    "resolve_run_file",
    "root_of_iteration",
    "sampling_file",
    "unfiltered_half_map_file",
    "write_model",
    "write_optimiser",
    "write_sampling",
]


def root_of_iteration(root: str, iteration: int | None) -> str:
    """Root of the files of an iteration: ``<o>_itNNN``, or ``<o>`` for the final one (None)."""
    return root if iteration is None or iteration < 0 else f"{root}_it{iteration:03d}"


def data_file(root: str, iteration: int | None) -> str:
    """Particle file of an iteration (None: the final one)."""
    return f"{root_of_iteration(root, iteration)}_data.star"


def sampling_file(root: str, iteration: int | None) -> str:
    """Sampling file of an iteration (None: the final one)."""
    return f"{root_of_iteration(root, iteration)}_sampling.star"


def optimiser_file(root: str, iteration: int | None) -> str:
    """Optimiser file of an iteration (None: the final one)."""
    return f"{root_of_iteration(root, iteration)}_optimiser.star"


def model_file(root: str, iteration: int | None, half_set: int = 0) -> str:
    """Model file of an iteration; `half_set` 1 or 2 while halves are split, else 0."""
    return f"{root_of_iteration(root, iteration)}{_half(half_set)}_model.star"


def class_map_file(root: str, iteration: int | None, i_class: int, half_set: int = 0) -> str:
    """Map of a class (0-based) of an iteration."""
    return f"{root_of_iteration(root, iteration)}{_half(half_set)}_class{i_class + 1:03d}.mrc"


def angular_distribution_file(
    root: str, iteration: int | None, i_class: int, half_set: int = 0
) -> str:
    """Direction histogram of a class (0-based) of an iteration."""
    stem = f"{root_of_iteration(root, iteration)}{_half(half_set)}"
    return f"{stem}_class{i_class + 1:03d}_angdist.bild"


def unfiltered_half_map_file(root: str, iteration: int | None, half_set: int) -> str:
    """Raw half map, the input of post-processing."""
    return f"{root_of_iteration(root, iteration)}{_half(half_set)}_class001_unfil.mrc"


def resolve_run_file(name: str, optimiser_path: str) -> str:
    """Find a file that an optimiser or model file names.

    Parameters
    ----------
    name
        File name as stored: relative to the directory the run was started in.
    optimiser_path
        The file that names it; its folder is searched if the working directory has no such file.

    Returns
    -------
    str
        An existing path, or `name` itself for the reader to complain about.
    """
    if Path(name).exists():
        return name
    beside = Path(optimiser_path).parent / Path(name).name
    return str(beside) if beside.exists() else name


def _half(half_set: int) -> str:
    return f"_half{half_set}" if half_set else ""
