"""The notebook API: on a run that RELION made, on real particles, against the twins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clrelion import api
from clrelion.errors import ImageError, OptionsError, StarError
from clrelion.expectation.reference import reference_transform
from clrelion.fourier.transforms import centre_half_transform, forward_2d
from tests.projection.particles import PIXEL, N, write_particles
from tests.reference.phantoms import blob_map, uniform_angles, uniform_matrices
from tests.reference.refine_program import (
    BETAGAL,
    REFINE3D,
    changed,
    map_fsc,
    succeed,
    write_small_set,
)
from tests.reference.slices import project as project_twin


@pytest.fixture
def particles(tmp_path: Path) -> api.Particles:
    write_particles(tmp_path, n=200, noise=0.1)
    return api.read_particles(tmp_path / "s.star")


class TestParticles:
    def test_real_ones(self) -> None:
        particles = api.read_particles(BETAGAL / "particles.star")
        assert len(particles) == 92
        first = particles[0]
        assert first.image.shape == (80, 80)
        assert first.optics.pixel_size_angst == pytest.approx(3.4151, abs=1e-4)
        assert first.ctf().shape == (80, 41)
        # the CTF's sign is that of bright particles: positive contrast near the origin
        assert first.ctf()[0, 0] == pytest.approx(first.optics.amplitude_contrast)
        assert [p.index for p in particles[2:5]] == [2, 3, 4]
        strong = particles[particles.table.defocus_u_angst > 0]
        assert len(strong) == len(list(particles)) == 92
        np.testing.assert_array_equal(particles.images([0, -1])[1], particles[91].image)
        with pytest.raises(IndexError):
            particles[92]

    def test_images_from_a_project_folder(self, tmp_path: Path) -> None:
        (tmp_path / "job").mkdir()
        write_particles(tmp_path, n=3)
        (tmp_path / "s.star").rename(tmp_path / "job" / "s.star")
        with pytest.raises(ImageError, match=r"s\.mrcs"):
            _ = api.read_particles(tmp_path / "job" / "s.star")[0].image
        assert api.read_particles(tmp_path / "job" / "s.star", tmp_path)[0].image.shape == (N, N)


class TestProject:
    def test_against_the_twin(self) -> None:
        n = 22
        volume = api.Map(blob_map(n), 2.0)
        rot, tilt, psi = uniform_angles(6).T
        images = api.project(volume, rot, tilt, psi)
        assert images.shape == (6, n, n)
        reference = reference_transform(volume.data, 2.0, n // 2)
        expected = project_twin(reference, uniform_matrices(6), n)
        found = centre_half_transform(forward_2d(images))
        ky, kx = np.mgrid[:n, : n // 2 + 1]
        inside = np.hypot(np.minimum(ky, n - ky), kx) < n // 2 - 0.1
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found[:, inside], expected[:, inside], atol=1e-12 * scale)
        one = api.project(volume, rot[0], tilt[0], psi[0])
        np.testing.assert_allclose(one, images[0], atol=1e-12 * np.abs(one).max())

    def test_along_z_it_is_the_sum(self) -> None:
        z, y, x = np.mgrid[:24, :24, :24] - 12
        # near the centre, where the correction for interpolation is small
        data = np.exp(-((z - 1) ** 2 + (y + 2) ** 2 + (x - 2) ** 2) / 4.0)
        image = api.project(api.Map(data, 1.0), 0, 0, 0)
        np.testing.assert_allclose(image, data.sum(axis=0), atol=0.02 * image.max())
        # psi turns the image: its x axis is the map's y axis
        turned = api.project(api.Map(data, 1.0), 0, 0, 90)
        np.testing.assert_allclose(turned[12, 10], image[10, 12], rtol=0.02)
        assert int(turned.argmax()) == 10 * 24 + 10

    def test_as_a_particle_shows_it(self, tmp_path: Path) -> None:
        """Without noise the projection of the truth is the image."""
        truth = write_particles(tmp_path, n=5, noise=0.0, tilt_mrad=1.0)
        particles = api.read_particles(tmp_path / "s.star")
        projector = api.Projector(api.Map(truth, PIXEL))
        for i in (0, -1):
            image = projector.image_of(particles, i)
            found = particles[i].image
            assert np.corrcoef(image.ravel(), found.ravel())[0, 1] > 0.9999
            np.testing.assert_allclose(image - image.mean(), found, atol=0.02 * np.ptp(found))

    def test_odd_maps_are_refused(self) -> None:
        with pytest.raises(ImageError, match="even"):
            api.project(api.Map(np.zeros((5, 5, 5)), 1.0), 0, 0, 0)


class TestReconstruct:
    def test_back_to_the_truth(self, particles: api.Particles, tmp_path: Path) -> None:
        truth = api.Map(blob_map(N), PIXEL)
        volume = api.reconstruct(particles, max_resolution_angst=7.0)
        curve = api.fsc(volume, truth)
        assert curve.values[1:9].min() > 0.99
        halves = [api.reconstruct(tmp_path / "s.star", half_set=half) for half in (1, 2)]
        assert api.fsc(*halves).resolution_angst < 9.0
        with pytest.raises(OptionsError, match="class 9"):
            api.reconstruct(particles, class_number=9)

    def test_files_of_maps(self, tmp_path: Path) -> None:
        volume = api.Map(blob_map(16), 1.7).low_passed(8.0)
        api.write_map(tmp_path / "m.mrc", volume)
        again = api.read_map(tmp_path / "m.mrc")
        assert again.pixel_size_angst == pytest.approx(1.7)
        np.testing.assert_allclose(again.data, volume.data, atol=1e-6)


class TestFsc:
    def test_curve(self) -> None:
        rng = np.random.default_rng(0)
        truth = blob_map(32)
        one, two = (
            api.Map(truth + rng.normal(scale=0.2, size=truth.shape), 2.0) for _ in range(2)
        )
        curve = api.fsc(one, two)
        np.testing.assert_allclose(curve.values[1:], map_fsc(one.data, two.data)[1:], atol=0.05)
        below = int(np.argmax(curve.values[1:] < 0.5)) + 1
        assert curve.resolution_at(0.5) == pytest.approx(64.0 / (below - 1))
        assert curve.resolution_at(2.0) == np.inf
        assert api.fsc(one, one).resolution_angst == pytest.approx(4.0)
        assert curve.frequency_inv_angst[16] == pytest.approx(0.25)
        mask = api.Map((truth > 0.2).astype(float), 2.0)
        assert api.fsc(one, two, mask).values[1:].mean() > curve.values[1:].mean()

    def test_sizes(self) -> None:
        with pytest.raises(ImageError, match="one size"):
            api.fsc(api.Map(np.zeros((4, 4, 4)), 1.0), api.Map(np.zeros((6, 6, 6)), 1.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a short auto-refine."""
    folder = tmp_path_factory.mktemp("run")
    write_small_set(folder)
    succeed(folder, changed(REFINE3D, "--auto_iter_max 2 --o out/run"))
    return folder


class TestRun:
    def test_of_clrelion(self, folder: Path) -> None:
        run = api.read_run(folder / "out", images=folder)
        assert len(run.iterations) == 3
        assert len(run.particles) == 24
        assert {p.half_set for p in run.particles} == {1, 2}
        assert run.particles[0].image.shape == (80, 80)
        assert run.resolutions_angst[-1] == run.resolution_angst
        assert run.class_sizes.tolist() == [1.0]
        curve = api.fsc(*run.half_maps())
        assert curve.values[1] > 0.9
        assert run.map().box_px == 80
        assert "3 iterations" in repr(run)

    def test_what_is_not_there(self, folder: Path) -> None:
        with pytest.raises(StarError, match="nothing"):
            api.read_run(folder / "nothing")
        run = api.read_run(folder / "out/run")
        with pytest.raises(StarError, match="no map of class 2"):
            run.map(2)
