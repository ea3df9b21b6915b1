"""common/wide_numbers: doubles, or pairs of floats that are nearly as good."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from clrelion.device.wide_numbers import wide_to_device
from tests.kernels.local_inputs import KINDS, WideOutput, needs
from tests.reference.wide_numbers import arithmetic, cos_sin_pi

ARITHMETIC = """
<%include file="/common/wide_numbers.cl.mako"/>
__kernel void arithmetic(
    __global const wide* a, __global const wide* b, const int n, __global wide* out)
{
    const int i = get_global_id(0);
    if (i >= n) return;
    __global wide* own = out + 5 * i;
    own[0] = wide_plus(a[i], b[i]);
    own[1] = wide_minus(a[i], b[i]);
    own[2] = wide_times(a[i], b[i]);
    own[3] = wide_over(a[i], b[i]);
    own[4] = wide_root(wide_value(a[i]) < (real)0 ? -a[i] : a[i]);
}
"""
CIRCLE = """
<%include file="/common/wide_numbers.cl.mako"/>
__kernel void circle(const int denominator, const int n, __global wide* out)
{
    const int i = get_global_id(0);
    if (i >= n) return;
    wide c, s;
    wide_cos_sin_pi(
        wide_over(wide_of((real)(i - n / 2)), wide_of((real)denominator)), &c, &s);
    out[2 * i] = c;
    out[2 * i + 1] = s;
}
"""
ROUNDING = {"double": 4e-16, "pair": 3e-14}


@pytest.mark.parametrize("kind", KINDS)
def test_arithmetic(any_session: DeviceSession, kind: str) -> None:
    if not needs(any_session, kind):
        pytest.skip("not used there")
    rng = np.random.default_rng(4)
    n = 1001
    a, b = rng.normal(size=(2, n)) * 10.0 ** rng.uniform(-4, 4, (2, n))
    if kind == "pair":  # numbers that a pair holds
        a, b = ((x.astype("f4") + (x - x.astype("f4")).astype("f4").astype("f8")) for x in (a, b))
    out = WideOutput(any_session, (n, 5), kind)
    kernel = any_session.kernel_from_source("arithmetic", ARITHMETIC, wide=kind)
    arrays = (wide_to_device(any_session, x, kind) for x in (a, b))
    kernel((n,), None, *arrays, n, out.array)
    expected = arithmetic(a, b)
    # what cancels is lost of the larger one
    scale = np.abs(expected)
    scale[:, :2] = np.maximum(np.abs(a), np.abs(b))[:, None]
    error = np.abs(out.read() - expected) / scale
    assert (error <= ROUNDING[kind]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("denominator", [4, 4096, 999])
def test_circle(any_session: DeviceSession, kind: str, denominator: int) -> None:
    """Up to an eighth of a turn either way."""
    if not needs(any_session, kind):
        pytest.skip("not used there")
    n = 2 * (denominator // 4) + 1
    out = WideOutput(any_session, (n, 2), kind)
    kernel = any_session.kernel_from_source("circle", CIRCLE, wide=kind)
    kernel((n,), None, denominator, n, out.array)
    expected = cos_sin_pi(np.arange(n) - n // 2, denominator)
    np.testing.assert_allclose(out.read(), expected, rtol=0, atol=ROUNDING[kind])
