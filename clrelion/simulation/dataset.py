"""A simulated data set on disk: stacks, STAR files, true maps; made by many processes."""

from __future__ import annotations

import logging
import multiprocessing
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.constants import PROGRAM_NAME, VERSION
from clrelion.errors import ClrelionError
from clrelion.fourier.filters import low_pass_map
from clrelion.io.atomic import replacing
from clrelion.io.mrc import write_map
from clrelion.io.star_writer import Column, StarTable, write_star
from clrelion.simulation.images import ImageMaker, true_map
from clrelion.simulation.models import MapModel, open_models
from clrelion.simulation.settings import SimulationSettings
from clrelion.simulation.truth import Truth, draw_truth

__all__ = ["SimulatedFiles", "simulate"]

_log = logging.getLogger(__name__)

_HEADER_BYTES = 1024
_MRC_VERSION = 20141
_PARTICLES_PER_TASK = 16


@dataclass(frozen=True)
class SimulatedFiles:
    """What was written.

    Attributes
    ----------
    particles_star, truth_star
        Particles without and with their true parameters.
    stacks
        Image stacks.
    true_maps, references
        One a state: the true map, and the same with a low-pass filter.
    references_star
        List of the references, for ``--ref``, or None with one state.
    """

    particles_star: Path
    truth_star: Path
    stacks: list[Path]
    true_maps: list[Path]
    references: list[Path]
    references_star: Path | None


def simulate(
    models: Sequence[str],
    settings: SimulationSettings,
    folder: str | os.PathLike[str],
    *,
    n_workers: int = 1,
    reference_angst: float = 40.0,
    progress: Callable[[int], None] = lambda _: None,
) -> SimulatedFiles:
    """Make a data set.

    Parameters
    ----------
    models
        One a state, see :func:`clrelion.simulation.models.open_models`.
    settings
        The data set.
    folder
        Made if it is not there; files in it are overwritten.
    n_workers
        Processes; the files do not depend on their number.
    reference_angst
        Resolution of the low-passed references, Å.
    progress
        Called with the number of particles that are done since the last call.

    Returns
    -------
    SimulatedFiles

    Raises
    ------
    ClrelionError
        A model is missing or does not fit its box, or nothing can be written.
    """
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClrelionError(
            f"{folder}: cannot be made ({error.strerror}); choose another folder"
        ) from None
    states = open_models(models, place)
    try:
        truth = draw_truth(settings, len(states))
        maker = ImageMaker(settings, states, truth)
        layout = _Layout(settings, truth)
        _write_stacks(maker, layout, settings, place, n_workers, progress)
        maps: list[Path] = []
        references: list[Path] = []
        for i, state in enumerate(states):
            volume = true_map(state, settings, maker.gain)
            pixel_size = settings.optics[0].pixel_size_angst
            for paths, name, data in (
                (maps, f"truth{i + 1:02d}.mrc", volume),
                (references, f"ref{i + 1:02d}.mrc",
                 low_pass_map(volume, pixel_size, reference_angst)),
            ):  # fmt: skip
                write_map(place / name, data, pixel_size)
                paths.append(place / name)
    finally:
        for state in states:
            if isinstance(state, MapModel):
                state.remove_table()
    _write_tables(settings, truth, layout, place)
    references_star = None
    if len(states) > 1:
        references_star = place / "refs.star"
        names = [path.name for path in references]
        write_star(references_star, [StarTable("model_classes", {"rlnReferenceImage": names})])
    return SimulatedFiles(
        place / "particles.star", place / "truth.star", [place / s for s in layout.names],
        maps, references, references_star,
    )  # fmt: skip


class _Layout:
    """Which stack a particle's image is in, and where: groups of equal box and pixel share one."""

    def __init__(self, settings: SimulationSettings, truth: Truth) -> None:
        kinds = [(group.box_px, group.pixel_size_angst) for group in settings.optics]
        self.kinds = list(dict.fromkeys(kinds))
        self.names = [
            "particles.mrcs" if i == 0 else f"particles{i + 1:02d}.mrcs"
            for i in range(len(self.kinds))
        ]
        stack_of_group = np.array([self.kinds.index(kind) for kind in kinds])
        self.stack = stack_of_group[truth.optics_group]
        self.position = np.zeros(len(self.stack), dtype=np.int64)
        self.counts = []
        for i in range(len(self.kinds)):
            inside = self.stack == i
            self.counts.append(int(inside.sum()))
            self.position[inside] = np.arange(self.counts[-1])

    def image_names(self) -> list[str]:
        """Give rlnImageName of all particles."""
        pairs = zip(self.position.tolist(), self.stack.tolist(), strict=True)
        return [f"{position + 1:06d}@{self.names[stack]}" for position, stack in pairs]


# What a worker process works with: set once, when it starts.
_worker: list[tuple[ImageMaker, _Layout, list[NDArray[Any]]]] = []


def _start_worker(maker: ImageMaker, layout: _Layout, files: list[Path], dtype: str) -> None:
    _worker[:] = [(maker, layout, _open_stacks(layout, files, dtype))]


def _open_stacks(layout: _Layout, files: list[Path], dtype: str) -> list[NDArray[Any]]:
    return [
        np.memmap(file, dtype, "r+", _HEADER_BYTES, (count, box, box))
        for file, count, (box, _) in zip(files, layout.counts, layout.kinds, strict=True)
    ]


def _make_images(particles: range) -> NDArray[np.float64]:
    """Write some images; give least, greatest, sum and sum of squares of each."""
    maker, layout, stacks = _worker[0]
    statistics = np.empty((len(particles), 4))
    for row, i in zip(statistics, particles, strict=True):
        image = maker.image(i)
        row[:] = image.min(), image.max(), image.sum(dtype=np.float64), np.vdot(image, image)
        stacks[layout.stack[i]][layout.position[i]] = image
    return statistics


def _write_stacks(
    maker: ImageMaker,
    layout: _Layout,
    settings: SimulationSettings,
    folder: Path,
    n_workers: int,
    progress: Callable[[int], None],
) -> None:
    dtype, mode = ("<f2", 12) if settings.is_float16 else ("<f4", 2)
    with ExitStack() as stack:
        files = [stack.enter_context(replacing(folder / name)) for name in layout.names]
        for file, count, (box, _) in zip(files, layout.counts, layout.kinds, strict=True):
            with open(file, "wb") as out:
                out.truncate(_HEADER_BYTES + count * box * box * np.dtype(dtype).itemsize)
        tasks = [
            range(start, min(start + _PARTICLES_PER_TASK, settings.n_particles))
            for start in range(0, settings.n_particles, _PARTICLES_PER_TASK)
        ]
        parts = []
        with _mapped(min(n_workers, len(tasks)), (maker, layout, files, dtype)) as results:
            for part in results(tasks):
                parts.append(part)
                progress(len(part))
        statistics = np.concatenate(parts)
        for i, (file, (box, pixel_size)) in enumerate(zip(files, layout.kinds, strict=True)):
            header = _stack_header(box, pixel_size, mode, statistics[layout.stack == i])
            with open(file, "r+b") as out:
                out.write(header)


@contextmanager
def _mapped(
    n_workers: int, start_arguments: tuple[Any, ...]
) -> Iterator[Callable[[list[range]], Iterable[NDArray[np.float64]]]]:
    """Give a function that maps :func:`_make_images` over tasks, in order."""
    if n_workers <= 1:
        _start_worker(*start_arguments)
        try:
            yield lambda tasks: map(_make_images, tasks)
        finally:
            _worker.clear()
        return
    # not forked: a forked process must not meet OpenCL, MPI or threads of this one
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_workers, context, _start_worker, start_arguments) as pool:
        yield lambda tasks: pool.map(_make_images, tasks)


def _stack_header(
    box: int, pixel_size: float, mode: int, statistics: NDArray[np.float64]
) -> bytes:
    """Header of an MRC2014 image stack, 1024 bytes."""
    n, n_pixels = len(statistics), len(statistics) * box * box
    mean = statistics[:, 2].sum() / n_pixels
    rms = np.sqrt(max(statistics[:, 3].sum() / n_pixels - mean**2, 0.0))
    label = f"{PROGRAM_NAME} {VERSION}: simulated particles".encode()
    words = struct.pack(
        "<10i6f3i3f2i8x4si84x3f4s4sfi80s",
        box, box, n, mode, 0, 0, 0, box, box, 1,
        box * pixel_size, box * pixel_size, pixel_size, 90.0, 90.0, 90.0,
        1, 2, 3, statistics[:, 0].min(), statistics[:, 1].max(), mean,
        0, 0, b"", _MRC_VERSION, 0.0, 0.0, 0.0, b"MAP ", b"DD", rms, 1, label,
    )  # fmt: skip
    return words.ljust(_HEADER_BYTES, b"\0")


def _write_tables(
    settings: SimulationSettings, truth: Truth, layout: _Layout, folder: Path
) -> None:
    groups = settings.optics
    optics = StarTable("optics", {
        "rlnOpticsGroupName": [f"opticsGroup{i + 1}" for i in range(len(groups))],
        "rlnOpticsGroup": np.arange(len(groups)) + 1,
        "rlnVoltage": np.array([float(g.voltage_kv) for g in groups]),
        "rlnSphericalAberration": np.array([float(g.spherical_aberration_mm) for g in groups]),
        "rlnAmplitudeContrast": np.array([float(g.amplitude_contrast) for g in groups]),
        "rlnImagePixelSize": np.array([float(g.pixel_size_angst) for g in groups]),
        "rlnImageSize": np.array([g.box_px for g in groups]),
        "rlnImageDimensionality": np.full(len(groups), 2),
    })  # fmt: skip
    columns: dict[str, Column] = {
        "rlnImageName": layout.image_names(),
        "rlnMicrographName": [f"mic{m + 1:05d}.mrc" for m in truth.micrograph.tolist()],
        "rlnOpticsGroup": truth.optics_group + 1,
    }
    if settings.has_ctf:
        columns |= {
            "rlnDefocusU": truth.defocus_u_angst,
            "rlnDefocusV": truth.defocus_v_angst,
            "rlnDefocusAngle": truth.defocus_angle_deg,
        }
    write_star(folder / "particles.star", [optics, StarTable("particles", columns)])
    columns = {
        **columns,
        "rlnAngleRot": truth.rot_deg,
        "rlnAngleTilt": truth.tilt_deg,
        "rlnAnglePsi": truth.psi_deg,
        "rlnOriginXAngst": truth.origin_x_angst,
        "rlnOriginYAngst": truth.origin_y_angst,
        "rlnClassNumber": truth.state + 1,
        "rlnGroupScaleCorrection": truth.amplitude,
    }
    write_star(folder / "truth.star", [optics, StarTable("particles", columns)])
    _log.info("%d particles of %d micrographs in %s", settings.n_particles,
              int(truth.micrograph[-1]) + 1, folder)  # fmt: skip
