"""The files that runs beside an installed RELION read: simulated sets, masks, other formats."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np

from clrelion.fourier.masks import raised_cosine_mask
from clrelion.fourier.transforms import rescale_map, window_map
from clrelion.io.mrc import read_map, write_map
from clrelion.io.star import StarBlock, read_star
from clrelion.io.star_writer import write_star
from clrelion.orientations.symmetry import PointGroup
from tools.parity.workplace import REPOSITORY

# Every image inside its box at 160 Å; signal enough for poses that differ, noise enough for
# several likely ones.
SIMULATION = "--box 40 --angpix 4 --snr 0.6 --shift 1.5 --seed 3 --n 60"
_ATOMS = 40
_ATOM_SHELL_ANGST = (30.0, 52.0)
_ATOM_STEP_ANGST = 5.0
_ATOM_SEED = 5
_POSE_ERROR_DEG = 4.0


def make_set(simulation: str, symmetry: str, folder: Path) -> Path:
    """Simulate a set, unless that has been done.

    Parameters
    ----------
    simulation
        Arguments of ``clrelion simulate`` after the common ones; without a model it is a random
        cloud of atoms of the symmetry.
    symmetry
        Point group.
    folder
        Where sets are kept.

    Returns
    -------
    pathlib.Path
        Folder of the set.

    Raises
    ------
    subprocess.CalledProcessError
        The simulation failed.
    """
    arguments = shlex.split(f"{SIMULATION} {simulation}")
    own_model = "--molecule" not in arguments
    key = f"{shlex.join(arguments)} {symmetry if own_model else ''}"
    place = folder / f"set_{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    if (place / "particles.star").is_file():
        return place
    if own_model:
        place.mkdir(parents=True, exist_ok=True)
        atoms = place / "atoms.pdb"
        _write_symmetric_atoms(atoms, PointGroup.from_name(symmetry))
        arguments += ["--model", str(atoms), "--ref_angst", "25"]
    command = [sys.executable, "-m", "clrelion", "simulate", *arguments, "--o", str(place)]
    subprocess.run(
        [*command, "--j", "1"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    return place


def make_inputs(place: Path, arguments: list[str]) -> None:
    """Make the files that the arguments name, of those that are not part of a set."""
    for name, write in _WRITERS.items():
        if name in arguments and not (place / name).is_file():
            write(place / name)


def _write_symmetric_atoms(path: Path, group: PointGroup) -> None:
    """Write a random walk within a shell and its symmetry mates, as a PDB file."""
    rng = np.random.default_rng(_ATOM_SEED)
    near, far = _ATOM_SHELL_ANGST
    walk = [np.full(3, 0.5 * (near + far) / np.sqrt(3.0))]
    while len(walk) <= _ATOMS:
        step = walk[-1] + rng.normal(0.0, _ATOM_STEP_ANGST, 3)
        if near < np.linalg.norm(step) < far:
            walk.append(step)
    mates = np.concatenate([np.array(walk) @ operator for operator in group.operators])
    lines = [
        f"ATOM  {i % 99999 + 1:5d}  C   ALA A{i // 10 % 9999 + 1:4d}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C"
        for i, (x, y, z) in enumerate(mates)
    ]
    path.write_text("\n".join([*lines, "END", ""]), encoding="ascii")


def _write_mask(path: Path, radius_px: float, edge_px: float) -> None:
    reference = read_map(path.parent / "ref01.mrc")
    mask = raised_cosine_mask(reference.data.shape[0], radius_px, edge_px)
    write_map(path, mask, reference.pixel_size_angst)


def _write_tau2(path: Path) -> None:
    """Write a falling signal power, of about the size of these references'."""
    n_shells = read_map(path.parent / "ref01.mrc").data.shape[0] // 2 + 1
    index = np.arange(n_shells)
    columns = {
        "rlnSpectralIndex": [str(i) for i in index],
        "rlnReferenceTau2": [f"{1e-3 * np.exp(-i / 4.0):.6e}" for i in index],
    }
    write_star(path, [StarBlock("", True, columns)])


def _write_noise(path: Path) -> None:
    """Write a flat noise power, of about the size of these images'."""
    n_shells = read_map(path.parent / "ref01.mrc").data.shape[0] // 2 + 1
    columns = {
        "rlnSpectralIndex": [str(i) for i in range(n_shells)],
        "rlnSigma2Noise": ["3.0e-04"] * n_shells,
    }
    write_star(path, [StarBlock("", True, columns)])


def _write_other_reference(path: Path) -> None:
    """Write the reference with larger voxels in a larger box."""
    reference = read_map(path.parent / "ref01.mrc")
    n = reference.data.shape[0]
    coarser = rescale_map(reference.data.astype(np.float64), n - 8)
    size = reference.pixel_size_angst * n / (n - 8)
    write_map(path, window_map(coarser, n + 8), size)


def _rescale_with_relion(path: Path) -> None:
    """Bring the other reference to the size of the images, which version 3.1.3 does not do."""
    wanted = read_map(path.parent / "ref01.mrc")
    command = [
        "relion_image_handler", "--i", "other.mrc", "--o", path.name,
        "--rescale_angpix", f"{wanted.pixel_size_angst:.6f}", "--new_box", str(len(wanted.data)),
    ]  # fmt: skip
    subprocess.run(command, cwd=path.parent, check=True, capture_output=True, text=True)


def _posed(path: Path) -> list[StarBlock]:
    """Particles with poses near the true ones, and the true shifts."""
    blocks = read_star(path.parent / "truth.star")
    particles = blocks["particles"]
    rng = np.random.default_rng(1)
    for name in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"):
        error = rng.normal(0.0, _POSE_ERROR_DEG, particles.n_rows)
        values = particles.floats(name) + error
        particles.columns[name] = [f"{x:.6f}" for x in values]
    kept = read_star(path.parent / "particles.star")["particles"].columns
    poses = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst")
    particles.columns = {k: v for k, v in particles.columns.items() if k in kept or k in poses}
    return [blocks["optics"], particles]


def _write_posed(path: Path) -> None:
    write_star(path, _posed(path))


def _write_legacy(path: Path) -> None:
    """Write particles with poses as RELION 3.0 did: one table, shifts in px, a magnification."""
    optics, particles = _posed(path)
    (pixel_size,) = optics.floats("rlnImagePixelSize")
    columns = dict(particles.columns)
    del columns["rlnOpticsGroup"]
    for name in ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"):
        columns[name] = optics.strings(name) * particles.n_rows
    columns["rlnDetectorPixelSize"] = ["5.000000"] * particles.n_rows
    columns["rlnMagnification"] = [f"{50000.0 / pixel_size:.6f}"] * particles.n_rows
    for axis in "XY":
        shifts = particles.floats(f"rlnOrigin{axis}Angst") / pixel_size
        del columns[f"rlnOrigin{axis}Angst"]
        columns[f"rlnOrigin{axis}"] = [f"{x:.6f}" for x in shifts]
    write_star(path, [StarBlock("", True, columns)])
    # a table with the version of 3.1 and later is not converted
    text = path.read_text(encoding="utf-8").replace("# version 50001\n", "")
    path.write_text(text, encoding="utf-8")


def _write_as_integers(path: Path, kind: type[np.int8] | type[np.int16]) -> None:
    """Write particles whose stack holds integers of the type, scaled to its range."""
    folder = path.parent
    images = mrcfile.read(folder / "particles.mrcs")
    largest = np.iinfo(kind).max
    scaled = np.round(images * (0.9 * largest / np.abs(images).max())).astype(kind)
    stack = path.with_suffix(".mrcs")
    with mrcfile.new(stack, overwrite=True) as file:
        file.set_data(scaled)
        file.set_image_stack()
        file.voxel_size = read_map(folder / "ref01.mrc").pixel_size_angst
    blocks = read_star(folder / "particles.star")
    names = blocks["particles"].columns["rlnImageName"]
    renamed = [name.replace("@particles.mrcs", f"@{stack.name}") for name in names]
    blocks["particles"].columns["rlnImageName"] = renamed
    write_star(path, [*blocks.values()])


_WRITERS: dict[str, Callable[[Path], None]] = {
    "mask.mrc": lambda path: _write_mask(path, 13.0, 4.0),
    "inner.mrc": lambda path: _write_mask(path, 4.0, 2.0),
    "tau.star": _write_tau2,
    "noise.star": _write_noise,
    "other.mrc": _write_other_reference,
    "rescaled.mrc": _rescale_with_relion,
    "posed.star": _write_posed,
    "legacy.star": _write_legacy,
    "int8.star": lambda path: _write_as_integers(path, np.int8),
    "int16.star": lambda path: _write_as_integers(path, np.int16),
}
