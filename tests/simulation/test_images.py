"""Simulated images: projection, CTF, shift, noise; against the conventions of the other rooms."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clrelion.errors import OptionsError
from clrelion.expectation.reference import reference_transform
from clrelion.fourier.ctf import contrast_transfer, frequency_grid
from clrelion.fourier.shells import half_transform_shells, shell_means
from clrelion.fourier.transforms import apply_shift, centre_half_transform, forward_2d
from clrelion.io.mrc import write_map
from clrelion.orientations.euler import euler_matrix
from clrelion.simulation.atoms import Atoms
from clrelion.simulation.images import ImageMaker, true_map
from clrelion.simulation.models import AtomModel, MapModel, open_models
from clrelion.simulation.molecule import MoleculeRecipe, grow_molecule
from clrelion.simulation.settings import PreferredView, SimulatedOptics, SimulationSettings
from clrelion.simulation.truth import Truth, draw_truth
from tests.reference.slices import project

PIXEL = 3.0
BOX = 48
MOLECULE = AtomModel(grow_molecule(MoleculeRecipe.from_text("seed:11,kda:60")))


def made(n: int = 6, models: Any = None, **changes: Any) -> tuple[ImageMaker, Truth]:
    optics = changes.pop("optics", (SimulatedOptics(BOX, PIXEL),))
    settings = SimulationSettings(n, optics, **{"snr": math.inf, **changes})
    models = models or [MOLECULE]
    truth = draw_truth(settings, len(models))
    return ImageMaker(settings, models, truth), truth


def transform_of(image: Any) -> Any:
    return centre_half_transform(forward_2d(image.astype(np.float64)))


def matrices(truth: Truth) -> Any:
    return euler_matrix(truth.rot_deg, truth.tilt_deg, truth.psi_deg)


def test_an_atom_is_where_the_convention_puts_it() -> None:
    """E 1.2, 1.3: at A r about the box centre, less the origin offset; y is the row."""
    atoms = Atoms(np.array([[20.0, -9.0, 14.0], [0.0, 0.0, 0.0]]), np.array([50.0, 1e-9]))
    maker, truth = made(models=[AtomModel(atoms)], has_ctf=False, bfactor=1500.0,
                        solvent_contrast=0.0)  # fmt: skip
    for i, A in enumerate(matrices(truth)):
        image = maker.signal(i)
        y, x = np.indices(image.shape) - BOX // 2
        centre = np.array([(image * x).sum(), (image * y).sum()]) / image.sum() * PIXEL
        origin = np.array([truth.origin_x_angst[i], truth.origin_y_angst[i]])
        np.testing.assert_allclose(centre, (A @ atoms.positions_angst[0])[:2] - origin, atol=0.02)


def test_projections_are_slices_of_the_true_map() -> None:
    """Direction, handedness and scale are those of clrelion's own projector (E 1.6)."""
    maker, truth = made(has_ctf=False, shift_sd_px=0.0, amplitude_spread=0.0, bfactor=150.0)
    volume = true_map(MOLECULE, maker._settings, maker.gain)
    reference = reference_transform(volume, 2.0, BOX // 2)
    slices = project(reference, matrices(truth), BOX)
    shells = half_transform_shells(BOX)
    for i, expected in enumerate(slices):
        found = transform_of(maker.image(i))
        inside = (shells < 20) & (np.abs(expected) > 0)
        # trilinear interpolation is good to a few per cent
        error = np.linalg.norm((found - expected)[inside]) / np.linalg.norm(expected[inside])
        assert error < 0.05
        wrong = slices[(i + 1) % len(slices)]
        assert np.linalg.norm((found - wrong)[inside]) > 0.3 * np.linalg.norm(expected[inside])


def test_ctf_and_shift_can_be_undone_by_the_star_file() -> None:
    changes: dict[str, Any] = {"seed": 5, "astigmatism_angst": 4000.0, "amplitude_spread": 0.1}
    maker, truth = made(**changes)
    plain, same = made(has_ctf=False, shift_sd_px=0.0, **{**changes, "amplitude_spread": 0.0})
    np.testing.assert_array_equal(truth.rot_deg, same.rot_deg)
    u, v = frequency_grid(BOX, BOX, PIXEL)
    for i in range(3):
        shift = np.array([truth.origin_x_angst[i], truth.origin_y_angst[i]]) / PIXEL
        assert np.abs(shift).max() > 0.1
        centred = apply_shift(transform_of(maker.signal(i)), shift, BOX)
        ctf = contrast_transfer(
            u, v, voltage_kv=300.0, spherical_aberration_mm=2.7, amplitude_contrast=0.1,
            defocus_u_angst=truth.defocus_u_angst[i], defocus_v_angst=truth.defocus_v_angst[i],
            defocus_angle_deg=truth.defocus_angle_deg[i],
        )  # fmt: skip
        expected = truth.amplitude[i] * ctf * transform_of(plain.signal(i))
        # a shift has no exact meaning at the Nyquist frequency
        inner = np.ones(ctf.shape, dtype=bool)
        inner[BOX // 2], inner[:, -1] = False, False
        np.testing.assert_allclose(centred[inner], expected[inner],
                                   atol=1e-9 * np.abs(expected).max())  # fmt: skip


def test_a_map_gives_the_images_of_its_atoms(tmp_path: Path) -> None:
    no_solvent: dict[str, Any] = {"solvent_contrast": 0.0, "has_ctf": False}
    # smooth enough to end within the box; the map then brings its envelope along
    maker, _ = made(bfactor=500.0, **no_solvent)
    volume = true_map(MOLECULE, maker._settings, 1.0)  # projected density in a voxel
    write_map(tmp_path / "map.mrc", volume / PIXEL, PIXEL)
    (model,) = open_models([str(tmp_path / "map.mrc")], tmp_path)
    assert isinstance(model, MapModel)
    from_map, _ = made(models=[model], bfactor=0.0, **no_solvent)
    shells = half_transform_shells(BOX)
    for i in range(3):
        expected, found = (transform_of(m.signal(i)) for m in (maker, from_map))
        inside = shells < BOX // 2 - 1
        error = np.abs(found - expected)[inside].max() / np.abs(expected).max()
        assert error < 5e-4
    # another box and pixel: the same density at the same place
    n, pixel = 36, 4.0
    optics = (SimulatedOptics(n, pixel),)
    there, _ = made(models=[model], bfactor=0.0, optics=optics, **no_solvent)
    expected = true_map(MOLECULE, made(bfactor=500.0, optics=optics, **no_solvent)[0]._settings, 1)
    found = true_map(model, there._settings, 1)
    assert np.abs(found - expected).max() < 2e-3 * expected.max()
    model.remove_table()
    assert list(tmp_path.iterdir()) == [tmp_path / "map.mrc"]


def test_signal_to_noise_and_background() -> None:
    maker, _ = made(16, snr=0.2, amplitude_spread=0.0)
    y, x = np.indices((BOX, BOX)) - BOX // 2
    outside = x**2 + y**2 > (BOX // 2) ** 2
    signal = []
    for i in range(16):
        image = maker.image(i).astype(np.float64)
        assert abs(image[outside].mean()) < 1e-6
        assert image[outside].std() == pytest.approx(1.0, abs=1e-6)
        signal.append((maker.gain * maker.signal(i))[~outside].var())
        assert image[~outside].var() == pytest.approx(1 + signal[-1], rel=0.25)
    assert np.mean(signal) == pytest.approx(0.2, rel=1e-6)


def test_noise_has_its_colour() -> None:
    colour: dict[str, Any] = {"noise_colour": 8.0, "noise_colour_angst": 30.0}
    maker, _ = made(200, snr=1e-9, **colour)
    shells = half_transform_shells(BOX)
    images = np.array([maker.image(i) for i in range(200)], dtype=np.float64)
    power = (np.abs(forward_2d(images)) ** 2).mean(axis=0)
    spectrum = shell_means(power[:, 1:-1], shells[:, 1:-1], BOX // 2 + 1)
    q2 = (np.arange(BOX // 2 + 1) / (BOX * PIXEL)) ** 2
    expected = maker._settings.noise_amplitude(q2) ** 2
    ratio = (spectrum / expected)[1:22]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=0.1)
    assert expected[1] / expected[20] > 3
    again, _ = made(200, snr=1e-9, **colour)
    np.testing.assert_array_equal(again.image(7), images[7].astype(np.float32))
    assert np.abs(np.corrcoef(images[7].ravel(), images[8].ravel())[0, 1]) < 0.1


def test_views_shifts_states_groups() -> None:
    groups = (SimulatedOptics(48, 3.0), SimulatedOptics(40, 4.0, 200.0))
    settings = SimulationSettings(
        3000, groups, particles_per_micrograph=50, state_shares=(1.0, 3.0),
        preferred=PreferredView(30.0, 70.0, 10.0, 0.5),
    )  # fmt: skip
    truth = draw_truth(settings, 2)
    assert (truth.state == 1).mean() == pytest.approx(0.75, abs=0.03)
    np.testing.assert_array_equal(truth.optics_group, np.repeat([0, 1], 1500))
    views = matrices(truth)[:, 2]
    near = views @ euler_matrix(30.0, 70.0, 0.0)[2] > np.cos(np.deg2rad(25))
    assert near.mean() == pytest.approx(0.5 * 0.956 + 0.5 * 0.047, abs=0.03)
    elsewhere = views[truth.state >= 0][~near]
    assert np.abs(elsewhere.mean(axis=0)).max() < 0.15
    sd = truth.origin_x_angst[:1500].std(), truth.origin_x_angst[1500:].std()
    assert sd == pytest.approx((2.5 * 3, 2.5 * 4), rel=0.06)
    per_micrograph = truth.amplitude.reshape(60, 50)
    assert np.all(per_micrograph == per_micrograph[:, :1])
    assert per_micrograph[:, 0].std() == pytest.approx(0.1, rel=0.35)
    assert np.all(truth.defocus_u_angst >= truth.defocus_v_angst)


def test_a_model_must_fit_its_box() -> None:
    with pytest.raises(OptionsError, match="does not fit into a box of 24 px of 3 Å"):
        made(optics=(SimulatedOptics(24, 3.0),))


@pytest.mark.parametrize(("changes", "message"), [
    ({"snr": 0.0}, "snr"), ({"n": 0}, "n is 0"), ({"defocus_angst": (2e4, 1e4)}, "defocus_min"),
    ({"state_shares": (1.0, 1.0)}, "2 values for 1 states"), ({"amplitude_spread": 0.5}, "amplit"),
    ({"optics": (SimulatedOptics(48, 3.0),) * 2}, "1 micrographs for 2 optics groups"),
    ({"state_shares": (-1.0,)}, "--shares"), ({"noise_colour": math.nan}, "noise_colour"),
])  # fmt: skip
def test_settings_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        made(**changes)


def test_optics_that_make_no_sense() -> None:
    for optics in ({"box_px": 47}, {"pixel_size_angst": 0.0}, {"amplitude_contrast": 1.0}):
        with pytest.raises(OptionsError):
            SimulatedOptics(**{"box_px": 48, "pixel_size_angst": 3.0, **optics})  # type: ignore[arg-type]
