"""The expectation step of a few small images, one sample after the other (specification E 5).

Written from the formulae on whole half-transforms: no pixel lists, no compact lists of samples, no
batches.  It departs from the letter of the specification where clrelion does (docs/differences.md):
scale factors of premultiplied images (Q20), amplitudes of other boxes (Q9).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.reference import ReferenceTransform
from clrelion.expectation.settings import ExpectationSettings, ImageGeometry
from clrelion.fourier.ctf import antisymmetric_phase, contrast_transfer
from clrelion.io.particle_table import ParticleTable
from clrelion.orientations.euler import euler_angles, euler_matrix
from tests.reference.weighted_sums import scatter

_UNSET = 999.0


def rnd(x: Any) -> Any:
    """Round half away from zero; all values here are positive or the sign is taken care of."""
    return (np.sign(x) * np.floor(np.abs(x) + 0.5)).astype(int)


@dataclass
class Prepared:
    """One image as the comparisons see it: transforms at size s_g, and what belongs to it."""

    masked: NDArray[np.complex128]
    unmasked: NDArray[np.complex128]
    ctf: NDArray[np.float64]
    shell_power: NDArray[np.float64]
    offset: NDArray[np.float64]
    prior_offset: NDArray[np.float64]
    q: float


@dataclass
class Sample:
    """One fine sample."""

    class_number: int
    direction: int
    matrix: NDArray[np.float64]
    angles: tuple[float, float, float]
    translation: NDArray[np.float64]
    log_prior: float


@dataclass
class StepResult:
    """Sums and particle results; names as in ParameterSums and ParticleResults."""

    sums: dict[str, Any]
    data: NDArray[np.complex128]
    weight: NDArray[np.float64]
    particles: dict[str, NDArray[Any]] = field(default_factory=dict)


@cache
def frequencies(size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows = np.arange(size)
    ky = np.where(rows <= size // 2, rows, rows - size)
    kx, ky = np.meshgrid(np.arange(size // 2 + 1), ky)
    return kx, ky


def window(transform: NDArray[Any], size: int) -> NDArray[Any]:
    kx, ky = frequencies(size)
    return transform[ky % transform.shape[0], kx]


@cache
def counted_shells(size: int) -> NDArray[np.int64]:
    """Mres: -1 for duplicates and corners."""
    kx, ky = frequencies(size)
    shell = rnd(np.sqrt(kx**2 + ky**2))
    return np.where((shell > size // 2) | ((kx == 0) & (ky < 0)), -1, shell)


def image_points(geometry: ImageGeometry, size: int) -> NDArray[np.float64]:
    """M (x, y) / rho of every pixel of a half-transform, (size, size//2+1, 2)."""
    k = np.stack(frequencies(size), axis=-1)
    return k @ geometry.optics.mag_matrix.T / geometry.remap


def project(
    reference: ReferenceTransform,
    matrix: NDArray[np.float64],
    geometry: ImageGeometry,
    size: int,
) -> NDArray[np.complex128]:
    """Central slice on a half-transform (E 1.6, 1.7, F.1)."""
    padding, data = reference.padding_factor, reference.data
    points = image_points(geometry, size)
    kx, ky = frequencies(size)
    inside = kx**2 + ky**2 <= (size // 2) ** 2
    limit = np.floor(reference.r_max * padding) ** 2
    inside &= padding**2 * (points**2).sum(axis=-1) <= limit
    rotated = padding * points[inside] @ matrix[:2]
    mirrored = rotated[:, 0] < 0
    rotated[mirrored] *= -1
    low = np.floor(rotated).astype(int)
    f = rotated - low
    centre = data.shape[0] // 2
    values = np.zeros(len(rotated), dtype=complex)
    for corner in product((0, 1), repeat=3):
        share = np.prod(np.where(np.array(corner) == 1, f, 1 - f), axis=1)
        x, y, z = (low + corner).T
        values += share * data[z + centre, y + centre, x]
    values[mirrored] = values[mirrored].conj()
    out = np.zeros(kx.shape, dtype=complex)
    out[inside] = values
    return out


def shifts(translations: NDArray[np.float64], box: int, size: int) -> NDArray[np.complex128]:
    kx, ky = frequencies(size)
    t = translations[:, :, None, None]
    return np.exp(-2j * np.pi * (kx * t[:, 0] + ky * t[:, 1]) / box)


class Step:
    """One call of `expectation_step`."""

    def __init__(
        self,
        settings: ExpectationSettings,
        table: ParticleTable,
        images: dict[int, NDArray[np.float32]],
        noise: dict[int, NDArray[np.float64]],
        reconstruct_images: dict[int, NDArray[np.float32]] | None = None,
    ) -> None:
        self.s, self.table, self.images, self.noise = settings, table, images, noise
        self.others = images if reconstruct_images is None else reconstruct_images
        n_shells = settings.ori_size // 2 + 1
        n_optics, n_scale = len(settings.geometry), len(settings.scale_correction)
        edge = rnd(settings.padding_factor * settings.r_max) + 1
        self.shape = (2 * edge + 1, 2 * edge + 1, edge + 1)
        self.result = StepResult(
            {
                "pdf_class": np.zeros(settings.n_classes),
                "pdf_direction": np.zeros_like(settings.pdf_direction),
                "sigma2_noise": np.zeros((n_optics, n_shells)),
                "ctf2": np.zeros((n_optics, n_shells)),
                "sumw_group": np.zeros(n_optics),
                "scale_xa": np.zeros(n_scale),
                "scale_aa": np.zeros(n_scale),
                "sigma2_offset_sum": 0.0,
                "norm_sum": 0.0,
                "log_likelihood": 0.0,
                "pmax_sum": 0.0,
            },
            np.zeros((settings.n_classes, *self.shape), dtype=complex),
            np.zeros((settings.n_classes, *self.shape)),
        )
        names = (
            "rot_deg tilt_deg psi_deg turned_deg origin_x_angst origin_y_angst class_number "
            "norm_correction "
            "log_likelihood pmax n_significant"
        )
        self.result.particles = {name: np.zeros(table.n) for name in names.split()}

    # ---------------------------------------------------------------- E 5.2

    def prepare(self, i: int) -> Prepared:
        s, table = self.s, self.table
        g = s.geometry[table.optics_group[i]]
        n, pixel = g.optics.box_px, g.optics.pixel_size_angst
        origin = np.array([table.origin_x_angst[i], table.origin_y_angst[i]])
        offset = rnd(np.round(origin / pixel, 4)).astype(float)
        norm = s.avg_norm_correction / table.norm_correction[i] if s.do_norm_correction else 1.0
        image = self.shifted(norm * self.images[i].astype(float), offset)
        other = self.shifted(norm * self.others[i].astype(float), offset)
        y, x = np.mgrid[:n, :n] - n // 2
        r = np.hypot(x, y)
        inner = s.particle_diameter_angst / (2 * pixel)
        outer = inner + s.width_mask_edge_px
        edge = 0.5 + 0.5 * np.cos(np.pi * (outer - r) / s.width_mask_edge_px)
        c = np.where(r < inner, 0.0, np.where(r > outer, 1.0, edge))
        fill = (c * image).sum() / c.sum() if s.zero_mask else self.noise[i]
        masked = (1 - c) * image + c * fill
        transform = np.fft.rfft2(masked) / n**2
        unmasked = np.fft.rfft2(other) / n**2
        kx, ky = frequencies(n)
        if s.skip_align:
            rest = origin / pixel - offset
            offset = origin / pixel
            ramp = np.exp(-2j * np.pi * (kx * rest[0] + ky * rest[1]) / n)
            transform, unmasked = transform * ramp, unmasked * ramp
        shell = rnd(np.hypot(kx, ky))
        once = ~((kx == 0) & (ky < 0))
        power = np.bincount(shell[once], np.abs(transform[once]) ** 2)[: n // 2 + 1]
        q = s.scale_correction[table.scale_group[i]] if s.do_scale_correction else 1.0
        prior = np.array([table.origin_x_prior_angst[i], table.origin_y_prior_angst[i]])
        return Prepared(
            self.corrected(transform, g),
            self.corrected(unmasked, g),
            self.ctf(i, g),
            power.astype(float),
            offset,
            np.where(prior == _UNSET, 0.0, prior / pixel),
            float(q),
        )

    @staticmethod
    def shifted(image: NDArray[np.float64], offset: NDArray[np.float64]) -> NDArray[np.float64]:
        n = len(image)
        out = np.zeros_like(image)
        for y, x in product(range(n), repeat=2):
            from_y, from_x = y - int(offset[1]), x - int(offset[0])
            if 0 <= from_y < n and 0 <= from_x < n:
                out[y, x] = image[from_y, from_x]
        return out

    @staticmethod
    def spatial(g: ImageGeometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        k = np.stack(frequencies(g.image_size), axis=-1) @ g.optics.mag_matrix.T
        uv = k / (g.optics.box_px * g.optics.pixel_size_angst)
        return uv[..., 0], uv[..., 1]

    def corrected(self, transform: NDArray[Any], g: ImageGeometry) -> NDArray[np.complex128]:
        o = g.optics
        kx, ky = frequencies(g.image_size)
        u, v = self.spatial(g)
        phase = antisymmetric_phase(
            u, v, o.odd_zernike, o.beam_tilt_x_mrad, o.beam_tilt_y_mrad, o.voltage_kv,
            o.spherical_aberration_mm,
        )  # fmt: skip
        out = window(transform, g.image_size) * (-1.0) ** (kx + ky) * np.exp(-1j * phase)
        if g.response is not None:
            inside = rnd(np.hypot(kx, ky)) <= g.image_size // 2
            out = out * np.where(inside, g.response.factors(np.hypot(u, v)), 1.0)
        return np.asarray(out)

    def ctf(self, i: int, g: ImageGeometry) -> NDArray[np.float64]:
        rules, o, t = self.s.ctf, g.optics, self.table
        u, v = self.spatial(g)
        if not rules.correct:
            return np.ones_like(u)
        value = contrast_transfer(
            u, v, voltage_kv=o.voltage_kv, spherical_aberration_mm=o.spherical_aberration_mm,
            amplitude_contrast=o.amplitude_contrast or 0.0, defocus_u_angst=t.defocus_u_angst[i],
            defocus_v_angst=t.defocus_v_angst[i], defocus_angle_deg=t.defocus_angle_deg[i],
            phase_shift_deg=t.phase_shift_deg[i], bfactor=t.ctf_bfactor[i],
            scale_factor=t.ctf_scalefactor[i], even_zernike=o.even_zernike,
            intact_first_peak=rules.intact_first_peak, phase_flipped=rules.phase_flipped,
            only_flip_phases=rules.only_flip_phases,
        )  # fmt: skip
        return np.asarray(value**2 if o.ctf_premultiplied else value)

    # ---------------------------------------------------------------- E 4.6, 5.5: what is compared

    def log_offset_prior(self, p: Prepared, pixel: float, t: NDArray[np.float64]) -> Any:
        """ln(o_t / mean) of the coarse translations (Å)."""
        s = self.s
        if s.consistent_offset_prior:
            distance = pixel * (p.offset - p.prior_offset) + t
        else:
            distance = pixel * (p.offset + t - p.prior_offset)
        prior = np.exp(-(distance**2).sum(axis=1) / (2 * s.sigma2_offset_angst2))
        return np.log(prior / prior.mean())

    def coarse_orientations(self, i: int) -> list[tuple[int, int, int, float]]:
        """(class, direction, psi, prior) with a positive prior; directions of kept poses are -1."""
        s, table = self.s, self.table
        classes = [k for k in range(s.n_classes) if s.pdf_class[k] > 0]
        if s.considered_class is not None:
            classes = [int(s.considered_class[i])]
        grid = s.orientation_grid
        found = []
        if s.keeps_orientation:
            found = [
                (k, -1, -1, s.pdf_class[k] if s.considered_class is None else 1.0) for k in classes
            ]
        elif s.local_search is None:
            for k, d, psi in product(classes, range(grid.n_dir), range(grid.n_psi)):
                found.append((k, d, psi, s.pdf_direction[k, d]))
        else:
            dirs, psis = self.local(i)
            for k, (d, a), (psi, b) in product(classes, dirs, psis):
                found.append((k, d, psi, a * b))
        mean = np.mean([prior for *_, prior in found])
        _ = table
        return [(k, d, psi, prior / mean) for k, d, psi, prior in found if prior > 0]

    def local(self, i: int) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
        s, t, grid = self.s, self.table, self.s.orientation_grid
        assert s.local_search is not None
        search = s.local_search
        angles = [t.rot_deg[i], t.tilt_deg[i], t.psi_deg[i]]
        if not search.centre_on_current:
            priors = (t.rot_prior_deg[i], t.tilt_prior_deg[i], t.psi_prior_deg[i])
            angles = [a if p == _UNSET else p for a, p in zip(angles, priors, strict=True)]
        d0 = euler_matrix(angles[0], angles[1], 0.0)[2]
        all_d = euler_matrix(grid.rot_deg, grid.tilt_deg, np.zeros(grid.n_dir))[:, 2]
        theta = np.full(grid.n_dir, np.inf)
        for operator in s.point_group.operators:
            cosine = np.clip(all_d @ (operator.T @ d0), -1, 1)
            theta = np.minimum(theta, np.degrees(np.arccos(cosine)))
        sigma = max(search.sigma_rot_deg, search.sigma_tilt_deg)
        wrapped = np.abs(grid.psi_deg - angles[2]) % 360
        return self.gaussian(theta, sigma), self.gaussian(
            np.minimum(wrapped, 360 - wrapped), search.sigma_psi_deg
        )

    @staticmethod
    def gaussian(theta: NDArray[np.float64], sigma: float) -> list[tuple[int, float]]:
        kept = np.flatnonzero(theta < 3 * sigma)
        if not len(kept):
            return [(int(np.argmin(theta)), 1.0)]
        g = np.exp(-(theta[kept] ** 2) / (2 * sigma**2))
        return list(zip(kept.tolist(), (g / g.sum()).tolist(), strict=True))

    def orientations(
        self, i: int, d: int, psi: int, fine: bool
    ) -> list[tuple[NDArray[np.float64], tuple[float, float, float]]]:
        """Perturbed matrices and angles of a coarse orientation, or of its children."""
        s, t, grid = self.s, self.table, self.s.orientation_grid
        if s.keeps_orientation:
            own = (float(t.rot_deg[i]), float(t.tilt_deg[i]), float(t.psi_deg[i]))
            return [(euler_matrix(*own), own)]
        directions = [(grid.rot_deg[d], grid.tilt_deg[d])]
        psis = [grid.psi_deg[psi]]
        if fine:
            n_dir = grid.n_child_dir
            rot, tilt = grid.angles_of_children(np.arange(d * n_dir, (d + 1) * n_dir))
            directions = list(zip(rot, tilt, strict=True))
            n = 2**s.oversampling
            step = grid.psi_step_deg
            psis = [grid.psi_deg[psi] - step / 2 + (0.5 + j) * step / n for j in range(n)]
        a = s.perturbation * grid.angular_step_deg()
        moved = euler_matrix(a, a, a)
        out = []
        for (rot, tilt), gamma in product(directions, psis):
            matrix = euler_matrix(rot, tilt, gamma)
            if s.perturbation:
                matrix = matrix @ moved
                out.append((matrix, tuple(float(x) for x in euler_angles(matrix))))
            else:
                out.append((matrix, (float(rot), float(tilt), float(gamma))))
        return out  # type: ignore[return-value]

    def translations(self, fine: bool) -> list[list[NDArray[np.float64]]]:
        """Perturbed translations in Å of every coarse one: itself, or its children."""
        s, grid = self.s, self.s.translation_grid
        if s.skip_align:
            return [[np.zeros(2)]]
        n, step = 2**s.oversampling if fine else 1, grid.step_angst
        steps = [-step / 2 + (0.5 + j) * step / n for j in range(n)] if fine else [0.0]
        moved = s.perturbation * step
        return [
            [np.array([x + dx + moved, y + dy + moved]) for dx, dy in product(steps, steps)]
            for x, y in grid.coarse
        ]

    # ---------------------------------------------------------------- E 5.3, 5.4

    def own_noise(self, g: ImageGeometry, group: int) -> NDArray[np.float64]:
        return np.asarray(self.s.sigma2_noise[group] / g.remap**2)

    def inverse_sigma2(self, g: ImageGeometry, group: int, size: int) -> NDArray[np.float64]:
        shell = counted_shells(size)
        noise = self.own_noise(g, group)
        model = rnd(shell / g.remap)
        usable = (shell > 0) & (model < len(noise))
        out = np.zeros(shell.shape)
        out[usable] = 1 / (self.s.sigma2_fudge * noise[model[usable]])
        return out

    def projection_factor(self, p: Prepared, g: ImageGeometry, q: float) -> NDArray[np.float64]:
        rules = self.s.ctf
        ctf = p.ctf if rules.references_corrected or not rules.correct else np.ones_like(p.ctf)
        return np.asarray(q * ctf / g.remap**2)

    def diff2(
        self, p: Prepared, g: ImageGeometry, group: int, k: int, matrix: NDArray[np.float64],
        size: int, phases: NDArray[np.complex128],
    ) -> NDArray[np.float64]:  # fmt: skip
        reference = self.s.references[k]
        assert reference is not None
        factor = window(self.projection_factor(p, g, p.q), size)
        y = factor * project(reference, matrix, g, size)
        x = window(p.masked, size)
        if self.s.do_cross_correlation:
            norm = np.sqrt((np.abs(y) ** 2).sum()) * np.sqrt((np.abs(x) ** 2).sum())
            return -(np.conj(y) * x * phases).real.sum(axis=(1, 2)) / norm
        w = self.inverse_sigma2(g, group, size)
        beyond = p.shell_power[g.image_size // 2 + 1 :].sum()
        return beyond / 2 + 0.5 * (w * np.abs(y - x * phases) ** 2).sum(axis=(1, 2))

    # ---------------------------------------------------------------- E 5.5, 5.6

    def threshold(self, weights: NDArray[np.float64], most: int) -> tuple[float, int]:
        """Last weight added, walking down from the largest, at most ``most`` if that is positive.

        And how many were walked.
        """
        ordered = np.sort(weights[weights > 0])[::-1]
        running = np.cumsum(ordered)
        above = np.flatnonzero(running > self.s.adaptive_fraction * weights.sum())
        last = int(above[0]) if len(above) else len(ordered) - 1
        if most > 0:
            last = min(last, most - 1)
        return float(ordered[last]), last + 1

    def particle(self, i: int) -> None:
        s, table = self.s, self.table
        group = int(table.optics_group[i])
        g = s.geometry[group]
        pixel, box = g.optics.pixel_size_angst, g.optics.box_px
        p = self.prepare(i)
        single = s.oversampling == 0
        coarse_size = g.image_size if single and not s.score_at_coarse_size else g.coarse_size
        fine_size = g.coarse_size if s.score_at_coarse_size else g.image_size
        unperturbed = np.zeros((1, 2)) if s.skip_align else s.translation_grid.coarse
        log_offset = self.log_offset_prior(p, pixel, unperturbed)
        coarse = self.coarse_orientations(i)
        t_px = np.array([t[0] for t in self.translations(fine=False)]) / pixel
        phases = shifts(t_px, box, coarse_size)
        scores = np.array([
            self.diff2(p, g, group, k, self.orientations(i, d, psi, False)[0][0], coarse_size,
                       phases)
            for k, d, psi, _ in coarse
        ])  # fmt: skip
        prior = np.array([prior for *_, prior in coarse])
        log_weight = np.log(prior)[:, None] + log_offset - scores
        if s.do_cross_correlation:
            log_weight = -scores
        weight = np.exp(log_weight - log_weight.max())
        if s.do_cross_correlation:
            chosen, walked = weight == 1.0, 1
        else:
            limit, walked = self.threshold(weight.ravel(), s.max_significants)
            chosen = weight >= limit
        if single and not s.do_cross_correlation:
            chosen = np.ones_like(chosen)
        samples, blocks = self.fine_samples(i, coarse, chosen, log_offset)
        values = []
        for block in blocks:
            t_px = np.array([samples[b].translation for b in block]) / pixel
            first = samples[block[0]]
            values.append(
                self.diff2(p, g, group, first.class_number, first.matrix, fine_size,
                           shifts(t_px, box, fine_size))
            )  # fmt: skip
        log_prior = np.array([sample.log_prior for sample in samples])
        logs = (0 if s.do_cross_correlation else log_prior) - np.concatenate(values)
        top = float(logs.max())
        if s.do_cross_correlation:
            weights = np.zeros(len(logs))
            weights[np.argmax(logs)] = 1.0
            kept = weights == 1.0
        else:
            weights = np.exp(logs - top)
            limit, n_kept = self.threshold(weights, s.max_significants if single else 0)
            kept = weights >= limit
            if single:
                walked = n_kept
        omega = np.where(kept, weights / weights.sum(), 0.0)
        self.add(i, p, g, group, samples, blocks, omega)
        log_sum = np.log(weights.sum()) + top
        likelihood = top if s.do_cross_correlation else log_sum - self.noise_constant(g, group)
        best = samples[int(np.argmax(logs))]
        offset = (p.offset + best.translation / pixel) * pixel
        found = self.result.particles
        found["rot_deg"][i], found["tilt_deg"][i], found["psi_deg"][i] = best.angles
        found["turned_deg"][i] = self.turn_deg(i, best.angles)
        found["origin_x_angst"][i], found["origin_y_angst"][i] = offset
        found["class_number"][i] = best.class_number
        found["log_likelihood"][i] = likelihood
        found["pmax"][i] = omega.max()
        found["n_significant"][i] = walked
        self.result.sums["log_likelihood"] += likelihood
        self.result.sums["pmax_sum"] += omega.max()

    def turn_deg(self, i: int, angles: tuple[float, float, float]) -> float:
        """Mean angle of the axes of an orientation to those before, over all mates (M 5.5)."""
        t = self.table
        before = euler_matrix(t.rot_deg[i], t.tilt_deg[i], t.psi_deg[i])
        turns = [
            np.mean([np.rad2deg(np.arccos(np.clip(a @ b, -1.0, 1.0))) for a, b in
                     zip(euler_matrix(*angles), before @ operator, strict=True)])
            for operator in self.s.point_group.operators
        ]  # fmt: skip
        return float(min(turns))

    def fine_samples(
        self, i: int, coarse: list[tuple[int, int, int, float]], chosen: NDArray[np.bool_],
        log_offset: NDArray[np.float64],
    ) -> tuple[list[Sample], list[list[int]]]:  # fmt: skip
        """Children of the chosen samples; blocks of the same orientation."""
        samples: list[Sample] = []
        blocks = []
        translations = self.translations(fine=True)
        for e, (k, d, psi, prior) in enumerate(coarse):
            if not chosen[e].any():
                continue
            for matrix, angles in self.orientations(i, d, psi, fine=True):
                block = []
                for t in np.flatnonzero(chosen[e]):
                    for child in translations[t]:
                        block.append(len(samples))
                        log_prior = float(np.log(prior) + log_offset[t])
                        samples.append(Sample(k, d, matrix, angles, child, log_prior))
                blocks.append(block)
        return samples, blocks

    def noise_constant(self, g: ImageGeometry, group: int) -> float:
        shell = counted_shells(g.image_size)
        model = rnd(shell[shell > 0] / g.remap)
        noise = self.own_noise(g, group)
        return float(np.log(2 * np.pi * noise[model[model < len(noise)]]).sum())

    def add(
        self, i: int, p: Prepared, g: ImageGeometry, group: int, samples: list[Sample],
        blocks: list[list[int]], omega: NDArray[np.float64],
    ) -> None:  # fmt: skip
        s, sums, table = self.s, self.result.sums, self.table
        size, box, pixel = g.image_size, g.optics.box_px, g.optics.pixel_size_angst
        shell = counted_shells(size)
        counted = shell >= 0
        q = max(p.q, 0.001)
        factor = self.projection_factor(p, g, q)
        own = q / g.remap**2
        w = self.inverse_sigma2(g, group, size)
        w[0, 0] = 1 / (s.sigma2_fudge * self.own_noise(g, group)[0])
        if not s.do_map:
            w = counted.astype(float)
        if g.optics.ctf_premultiplied:
            bp_data, bp_weight = own * w, own**2 * p.ctf * w
        else:
            bp_data, bp_weight = own * p.ctf * w, (own * p.ctf) ** 2 * w
        model = rnd(np.arange(size // 2 + 1) / g.remap)
        residual = np.zeros(box // 2 + 1)
        scale_group = int(table.scale_group[i])
        for block in blocks:
            if not omega[block].any():
                continue
            k, matrix = samples[block[0]].class_number, samples[block[0]].matrix
            reference = s.references[k]
            assert reference is not None
            y = factor * project(reference, matrix, g, size)
            strong = np.array([
                m < s.data_vs_prior.shape[1] and s.data_vs_prior[k, m] > 3 for m in model
            ])  # fmt: skip
            scaled = counted & strong[np.maximum(shell, 0)]
            value = np.zeros(y.shape, dtype=complex)
            for b in block:
                if omega[b] == 0:
                    continue
                t_px = samples[b].translation / pixel
                phase = shifts(t_px[None], box, size)[0]
                x = p.masked * phase
                difference = omega[b] * np.abs(y - x) ** 2
                residual[: size // 2 + 1] += np.bincount(shell[counted], difference[counted])
                if s.do_scale_correction:
                    cross, power = (np.conj(y) * x).real[scaled], (np.abs(y) ** 2)[scaled]
                    sums["scale_xa"][scale_group] += omega[b] * cross.sum() / q
                    sums["scale_aa"][scale_group] += omega[b] * power.sum() / q**2
                from_prior = p.prior_offset - p.offset - t_px
                sums["sigma2_offset_sum"] += omega[b] * pixel**2 * (from_prior**2).sum()
                value += omega[b] * bp_data * p.unmasked * phase
            total = omega[block].sum()
            sums["sumw_group"][group] += total
            sums["pdf_class"][k] += total
            if not s.keeps_orientation:
                sums["pdf_direction"][k, samples[block[0]].direction] += total
            self.backproject(k, matrix, g, value, total * bp_weight)
        residual[size // 2 + 1 :] += p.shell_power[size // 2 + 1 :]
        self.add_noise(i, g, group, residual)
        if g.optics.ctf_premultiplied:
            ctf2 = np.bincount(shell[counted], (q * p.ctf)[counted]).astype(float)
            sums["ctf2"][group] += self.on_model_shells(g, ctf2)

    def add_noise(
        self, i: int, g: ImageGeometry, group: int, residual: NDArray[np.float64]
    ) -> None:
        s, sums = self.s, self.result.sums
        sums["sigma2_noise"][group] += g.remap**2 * self.on_model_shells(g, residual)
        norm = self.table.norm_correction[i]
        if s.do_norm_correction:
            norm = norm / s.avg_norm_correction * np.sqrt(2 * residual.sum())
        self.result.particles["norm_correction"][i] = norm
        sums["norm_sum"] += norm

    def on_model_shells(self, g: ImageGeometry, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over the image pixels of each model shell times the model's own pixels there."""
        n_model = self.s.ori_size // 2 + 1
        image = counted_shells(g.optics.box_px)
        own = counted_shells(self.s.ori_size)
        out = np.zeros(n_model)
        for m in range(n_model):
            members = [j for j in range(len(values)) if rnd(j / g.remap) == m]
            n_pixels = sum(int((image == j).sum()) for j in members)
            if n_pixels:
                out[m] = values[members].sum() / n_pixels * (own == m).sum()
        return out

    def backproject(
        self, k: int, matrix: NDArray[np.float64], g: ImageGeometry,
        value: NDArray[np.complex128], weight: NDArray[np.float64],
    ) -> None:  # fmt: skip
        s = self.s
        points = image_points(g, g.image_size)
        kx, ky = frequencies(g.image_size)
        length2 = s.padding_factor**2 * (points**2).sum(axis=-1)
        limit = rnd(s.padding_factor * s.r_max) ** 2
        chosen = (weight > 0) & ~((kx == 0) & (ky < 0)) & (length2 <= limit)
        where = s.padding_factor * points[chosen] @ matrix[:2]
        scatter(self.result.data[k], self.result.weight[k], where, value[chosen], weight[chosen])


def expectation_step(
    settings: ExpectationSettings,
    table: ParticleTable,
    images: dict[int, NDArray[np.float32]],
    noise: dict[int, NDArray[np.float64]],
    reconstruct_images: dict[int, NDArray[np.float32]] | None = None,
) -> StepResult:
    """Go through the particles of ``images`` one by one."""
    step = Step(settings, table, images, noise, reconstruct_images)
    for i in images:
        step.particle(i)
    return step.result
