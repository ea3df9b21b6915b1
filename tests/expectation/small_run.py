"""Everything that an expectation step needs, for five images of 16 to 20 pixels.

Two optics groups, the second with another box and pixel size; two classes; two scale groups.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.device.memory import MemoryBudget
from clrelion.device.session import DeviceSession
from clrelion.expectation.noise_fill import NoiseFill
from clrelion.expectation.reference import ReferenceTransform, reference_transform
from clrelion.expectation.results import RESULT_TYPES, ExpectationResult, ParticleResults
from clrelion.expectation.settings import CtfRules, ExpectationSettings, ImageGeometry
from clrelion.expectation.step import ExpectationStep
from clrelion.io.particle_table import OpticsGroup, ParticleTable
from clrelion.orientations.euler import euler_matrix
from clrelion.orientations.sampling import OrientationGrid, TranslationGrid
from clrelion.orientations.symmetry import PointGroup
from clrelion.parallel.claims import ShareClaims
from clrelion.parallel.common_columns import CommonColumns
from clrelion.parallel.communicator import Communicator
from clrelion.parallel.sharing import WorkSharing
from tests.reference.expectation_step import StepResult, expectation_step, frequencies, project
from tests.reference.phantoms import blob_map

ORI_SIZE = 16
PIXEL_SIZE = 2.0
CURRENT_SIZE = 14
NOISE_SD = 1.0
N_PARTICLES = 5
ROOMY = MemoryBudget(2**30, 2**30, 0, None, 2**28)


def claims_on_all(order: NDArray[np.int64], optics_group: NDArray[np.int64]) -> ShareClaims:
    """Claims of a single process on a list of particles."""
    sharing = WorkSharing(Communicator(), [order], optics_group, [1.0])
    sharing.begin([order])
    return sharing.claims(0, helps=False)


class ImagesInMemory:
    """Source of images; stands for ParticleImages."""

    def __init__(self, images: dict[int, NDArray[np.float32]]) -> None:
        self._images = images

    def read(
        self, ids: NDArray[np.int64], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        return np.stack([self._images[i] for i in ids.tolist()], out=out)


@dataclass
class SmallRun:
    """Settings, particles and images."""

    settings: ExpectationSettings
    table: ParticleTable
    images: dict[int, NDArray[np.float32]]
    reconstruct_images: dict[int, NDArray[np.float32]] | None = None

    def noise(self) -> dict[int, NDArray[np.float64]]:
        """Noise images of the soft mask."""
        s = self.settings
        out = {}
        for i in self.images:
            group = self.table.optics_group[i]
            g = s.geometry[group]
            variance = s.sigma2_fudge * s.sigma2_noise[group] / g.remap**2
            fill = NoiseFill(g.optics.box_px, g.remap, variance, s.random_seed)
            out[i] = fill.images(np.array([i]))[0]
        return out

    def twin(self) -> StepResult:
        """What the step must find."""
        return expectation_step(
            self.settings, self.table, self.images, self.noise(), self.reconstruct_images
        )

    def step(self, session: DeviceSession, budget: MemoryBudget = ROOMY) -> ExpectationStep:
        others: Any = None
        if self.reconstruct_images is not None:
            others = ImagesInMemory(self.reconstruct_images)
        images: Any = ImagesInMemory(self.images)
        return ExpectationStep(
            session, self.settings, self.table, images, budget, reconstruct_images=others
        )

    def run(
        self, session: DeviceSession, budget: MemoryBudget = ROOMY
    ) -> tuple[ExpectationResult, ParticleResults]:
        """Run the step on a device."""
        return self.results_of(self.step(session, budget))

    def results_of(self, step: ExpectationStep) -> tuple[ExpectationResult, ParticleResults]:
        """Run a step over all particles."""
        results = room_for_results(self.table)
        order = np.array(sorted(self.images, key=lambda i: (self.table.optics_group[i], i)))
        claims = claims_on_all(order, self.table.optics_group)
        return step.run(claims, results), results

    def changed(self, **changes: Any) -> SmallRun:
        """Return the same run with other settings."""
        return replace(self, settings=replace(self.settings, **changes))

    def with_optics(self, group: int, **changes: Any) -> SmallRun:
        """Return the same run with another optics group in place of one."""
        geometry = list(self.settings.geometry)
        optics = replace(geometry[group].optics, **changes)
        geometry[group] = replace(geometry[group], optics=optics)
        groups = list(self.table.optics)
        groups[group] = optics
        settings = replace(self.settings, geometry=geometry)
        return SmallRun(
            settings, replace(self.table, optics=groups), self.images, self.reconstruct_images
        )


def optics_group(name: str, box: int, pixel_size: float, **changes: Any) -> OpticsGroup:
    values: dict[str, Any] = {
        "name": name,
        "number_in_file": 1,
        "voltage_kv": 300.0,
        "spherical_aberration_mm": 2.7,
        "amplitude_contrast": 0.1,
        "pixel_size_angst": pixel_size,
        "box_px": box,
        "ctf_premultiplied": False,
        "ctf_corrected": False,
        "beam_tilt_x_mrad": 0.0,
        "beam_tilt_y_mrad": 0.0,
        "odd_zernike": (),
        "even_zernike": (),
        "mag_matrix": np.eye(2),
        "mtf_file": None,
    }
    return OpticsGroup(**{**values, **changes})


def geometry_of(optics: OpticsGroup, coarse_size: int) -> ImageGeometry:
    remap = optics.box_px * optics.pixel_size_angst / (ORI_SIZE * PIXEL_SIZE)
    size = min(optics.box_px, 2 * int(np.ceil(0.5 * remap * CURRENT_SIZE)))
    return ImageGeometry(optics, remap, size, coarse_size)


def particle_table(optics: list[OpticsGroup], groups: list[int], seed: int = 3) -> ParticleTable:
    rng = np.random.default_rng(seed)
    n = len(groups)
    unset = np.full(n, 999.0)
    prior_x, prior_y = unset.copy(), unset.copy()
    prior_x[1:2], prior_y[1:2] = 1.5, -0.7
    rot_prior = unset.copy()
    rot_prior[0] = 40.0
    defocus = rng.uniform(8000, 20000, n)
    return ParticleTable(
        optics=optics,
        image_name=[f"{i + 1}@memory.mrcs" for i in range(n)],
        reconstruct_image_name=[f"{i + 1}@other.mrcs" for i in range(n)],
        optics_group=np.array(groups),
        scale_group=np.arange(n) % 2,
        rot_deg=rng.uniform(-180, 180, n),
        tilt_deg=rng.uniform(10, 170, n),
        psi_deg=rng.uniform(-180, 180, n),
        origin_x_angst=rng.uniform(-3, 3, n),
        origin_y_angst=rng.uniform(-3, 3, n),
        class_number=np.arange(n) % 2,
        norm_correction=rng.uniform(0.9, 1.1, n),
        random_subset=np.ones(n, dtype=np.int64),
        defocus_u_angst=defocus,
        defocus_v_angst=defocus * rng.uniform(0.95, 1.0, n),
        defocus_angle_deg=rng.uniform(0, 180, n),
        ctf_bfactor=rng.uniform(0, 20, n),
        ctf_scalefactor=rng.uniform(0.9, 1.0, n),
        phase_shift_deg=rng.uniform(0, 20, n),
        rot_prior_deg=rot_prior,
        tilt_prior_deg=unset.copy(),
        psi_prior_deg=unset.copy(),
        origin_x_prior_angst=prior_x,
        origin_y_prior_angst=prior_y,
        log_likelihood=np.zeros(n),
        pmax=np.zeros(n),
        n_significant=np.zeros(n, dtype=np.int64),
        group_names=["a", "b"],
        star_path="small.star",
        source_row=np.arange(n) + 1,
        raw={},
    )


def room_for_results(table: ParticleTable) -> ParticleResults:
    """Room for the results of one process; at first it holds the present values."""
    columns = CommonColumns(Communicator(), table.n, RESULT_TYPES)
    results = ParticleResults.in_columns(columns.begin(table.rot_deg))
    results.keep_others(table)
    return results


def simulated_image(
    reference: ReferenceTransform, table: ParticleTable, g: ImageGeometry, i: int, sd: float
) -> NDArray[np.float32]:
    """Particle i at its pose, without CTF, with white noise."""
    n, pixel = g.optics.box_px, g.optics.pixel_size_angst
    matrix = euler_matrix(table.rot_deg[i], table.tilt_deg[i], table.psi_deg[i])
    kx, ky = frequencies(n)
    origin = (table.origin_x_angst[i], table.origin_y_angst[i])
    shift = np.exp(2j * np.pi * (kx * origin[0] + ky * origin[1]) / (n * pixel))
    transform = project(reference, matrix, g, n) * shift * (-1.0) ** (kx + ky) / g.remap**2
    image = np.fft.irfft2(transform * n**2, s=(n, n))
    noise = np.random.default_rng(100 + i).normal(0, sd, (n, n))
    return (image + noise).astype(np.float32)


def small_run(
    padding: float = 2.0, oversampling: int = 1, symmetry: str = "C1", **changes: Any
) -> SmallRun:
    """Make a run; ``changes`` are of ExpectationSettings."""
    optics = [optics_group("first", 16, 2.0), optics_group("second", 20, 1.7)]
    geometry = [geometry_of(optics[0], 8), geometry_of(optics[1], 10)]
    table = particle_table(optics, [0, 1, 0, 1, 0])
    maps = [0.6 * blob_map(ORI_SIZE, 20, seed=k) for k in (1, 2)]
    references = [reference_transform(m, padding, CURRENT_SIZE // 2) for m in maps]
    images = {
        i: simulated_image(references[i % 2], table, geometry[table.optics_group[i]], i, NOISE_SD)
        for i in range(N_PARTICLES)
    }
    group = PointGroup.from_name(symmetry)
    grid = OrientationGrid.create(0, None, group, oversampling=oversampling)
    rng = np.random.default_rng(7)
    n_shells = ORI_SIZE // 2 + 1
    pdf_direction = rng.uniform(0.5, 1.5, (2, grid.n_dir))
    pdf_direction[1, 3] = 0.0
    noise = NOISE_SD**2 / (2 * ORI_SIZE**2) * rng.uniform(0.8, 1.3, (2, n_shells))
    values: dict[str, Any] = {
        "ori_size": ORI_SIZE,
        "pixel_size_angst": PIXEL_SIZE,
        "current_size": CURRENT_SIZE,
        "padding_factor": padding,
        "references": references,
        "pdf_class": np.array([0.6, 0.4]),
        "pdf_direction": pdf_direction / pdf_direction.sum(),
        "data_vs_prior": np.stack([np.linspace(20, 1, n_shells), np.linspace(9, 0, n_shells)]),
        "geometry": geometry,
        "sigma2_noise": noise,
        "scale_correction": np.array([0.85, 1.2]),
        "avg_norm_correction": 0.97,
        "sigma2_offset_angst2": 9.0,
        "sigma2_fudge": 1.2,
        "ctf": CtfRules(correct=True, references_corrected=True),
        "orientation_grid": grid,
        "translation_grid": TranslationGrid.create(3.0, 2.0, oversampling),
        "point_group": group,
        "perturbation": 0.3,
        "local_search": None,
        "considered_class": None,
        "do_cross_correlation": False,
        "do_norm_correction": True,
        "do_scale_correction": True,
        "do_map": True,
        "zero_mask": True,
        "particle_diameter_angst": 18.0,
        "width_mask_edge_px": 2.0,
        "adaptive_fraction": 0.999,
        "max_significants": 0,
        "score_at_coarse_size": False,
        "skip_align": False,
        "skip_rotate": False,
        "consistent_offset_prior": False,
        "move_psi_prior": False,
        "random_seed": 5,
    }
    return SmallRun(ExpectationSettings(**{**values, **changes}), table, images)
