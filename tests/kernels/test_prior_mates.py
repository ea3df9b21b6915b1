"""prior_mates: symmetry mates of prior orientations."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from clrelion.device.wide_numbers import wide_to_device
from tests.kernels.launch import run_kernel
from tests.kernels.local_inputs import KINDS, LocalInputs, WideOutput, needs
from tests.reference.local_lists import prior_mates

# of a sum of products of numbers up to 1; a pair of floats has 48 bits
ROUNDING = {"double": 2e-15, "pair": 1e-13}


@pytest.mark.parametrize(("symmetry", "group"), [("C1", 1), ("D3", 16), ("I1", 64)])
@pytest.mark.parametrize("prior", ["cap", "rot", "tilt"])
@pytest.mark.parametrize("moves_psi", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_random_poses(
    any_session: DeviceSession, symmetry: str, group: int, prior: str, moves_psi: bool, kind: str
) -> None:
    if not needs(any_session, kind):
        pytest.skip("not used there")
    inputs = LocalInputs(2, symmetry, prior, 10.0, 10.0)
    angles = inputs.angles_deg
    operators = inputs.group.operators
    n_mates, n = len(operators), len(angles)
    radians = np.deg2rad(angles)
    host = np.stack([np.cos(radians), np.sin(radians)], axis=-1).reshape(n, 6)
    centres = WideOutput(any_session, (n * n_mates, 5), kind)
    psis = WideOutput(any_session, (n * n_mates, 2), kind)
    run_kernel(
        any_session, "prior_mates", (n * n_mates,), (group,),
        wide_to_device(any_session, host, kind),
        wide_to_device(any_session, operators.reshape(-1, 9), kind),
        n_mates, int(moves_psi), n, centres, psis, wide=kind, prior=prior,
    )  # fmt: skip
    expected, psi_deg = prior_mates(angles, operators, prior, moves_psi)
    np.testing.assert_allclose(centres.read(), expected, rtol=0, atol=ROUNDING[kind])
    psi = np.deg2rad(psi_deg)
    np.testing.assert_allclose(
        psis.read(), np.stack([np.cos(psi), np.sin(psi)], axis=-1), rtol=0,
        # psi of mates near a pole is known less well
        atol=100 * ROUNDING[kind],
    )  # fmt: skip
