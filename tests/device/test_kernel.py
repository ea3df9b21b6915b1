"""Templates, signatures, argument checks, build errors and the binary cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyopencl as cl
import pytest

from clrelion.device import build, templates
from clrelion.device.capabilities import FLOAT_ATOMICS_PATHS
from clrelion.device.kernel import ArgumentType, Kernel
from clrelion.device.session import DeviceSession
from clrelion.errors import KernelBuildError

SOURCE = """<%include file="/common/types.cl.mako"/>
__kernel void scale(__global const real2 *restrict input, __global real2 *output, // in, out
                    const int n, const real factor, const long first, const uint flags,
                    const real2 shift)
{
    const int i = (int)get_global_id(0);
    if (i < n)
        output[first + i] = factor * input[i] + shift * (real)flags;
}
"""


@pytest.fixture
def arguments(session: DeviceSession) -> list[object]:
    """Valid arguments of ``scale``."""
    data = session.to_device(np.arange(8).astype(session.complex))
    return [data, session.zeros(9, session.complex), 8, 0.5, 1, 1, 2 + 3j]


def test_call(session: DeviceSession, arguments: list[object]) -> None:
    kernel = session.kernel_from_source("scale", SOURCE)
    kernel((8,), None, *arguments)
    result = session.to_host(arguments[1])  # type: ignore[arg-type]
    np.testing.assert_allclose(result, np.append(0, 0.5 * np.arange(8) + 2 + 3j))


def test_work_groups_of_graphics_cards_are_not_left_to_the_driver(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver divides the size, which may be prime; CPUs get what the driver chooses."""
    source = """__kernel void sizes(__global int *out) {
        if (get_global_id(0) || get_global_id(1)) return;
        out[0] = get_local_size(0); out[1] = get_local_size(1);
        out[2] = get_global_size(0); out[3] = get_global_size(1);
    }"""
    other = DeviceSession(session.info)
    other.is_cpu = False
    out = other.empty(4, np.int32)
    kernel = other.kernel_from_source("sizes", source)
    for n, sizes in ((67, [64, 1, 128, 5]), (1025, [256, 1, 1280, 5])):
        kernel((n, 5), None, out)
        assert other.to_host(out).tolist() == sizes
    # a device, or the registers of a kernel, may allow less
    monkeypatch.setattr(Kernel, "max_work_group_size", lambda _: 96)
    kernel = other.kernel_from_source("sizes", source + "\n")
    kernel((1025, 5), None, out)
    assert other.to_host(out).tolist() == [96, 1, 1056, 5]


def test_types_come_from_driver_and_from_source_alike(session: DeviceSession) -> None:
    kernel = session.kernel_from_source("scale", SOURCE)
    parsed = templates.parse_signature(kernel.source, "scale")
    real = np.dtype(session.real)
    from_source = [ArgumentType("scale", p, real).launch_dtype for p in parsed]
    assert from_source == [a.launch_dtype for a in kernel.arguments]
    assert from_source[2:6] == [np.int32, np.float32, np.int64, np.uint32]
    assert [a.parameter.is_pointer for a in kernel.arguments] == [True] * 2 + [False] * 5


@pytest.mark.parametrize(
    ("index", "value", "error", "match"),
    [
        (2, 8.0, TypeError, "argument n: int needs an integer"),
        (2, np.float32(8), TypeError, "argument n"),
        (2, True, TypeError, "argument n"),
        (2, 2**31, ValueError, "does not fit"),
        (5, -1, ValueError, "does not fit"),
        (3, "1", TypeError, "needs a real number"),
        (3, 1j, TypeError, "needs a real number"),
        (0, np.zeros(8, np.complex64), TypeError, "device array is needed"),
        (6, (1, 2, 3), TypeError, "needs 2 numbers"),
    ],
)
def test_wrong_value(
    session: DeviceSession, arguments: list[object], index: int, value: object,
    error: type[Exception], match: str,
) -> None:  # fmt: skip
    kernel = session.kernel_from_source("scale", SOURCE)
    arguments[index] = value
    with pytest.raises(error, match=match):
        kernel((8,), None, *arguments)


def test_conversions(session: DeviceSession) -> None:
    """Arguments one by one, and all in one go with the usual ones first, come out alike."""
    source = """__kernel void f(__global float2 *a, __global uchar *b, char c, uchar d, short e,
                            ushort f, int g, uint h, long i, ulong j, float k, __local int *l) {}"""
    kernel = session.kernel_from_source("f", source)
    pairs, bytes_d = session.zeros(4, np.complex64), session.zeros(3, np.uint8)
    buffers = pairs.base_data, bytes_d.base_data
    local = cl.LocalMemory(16)
    limits = [np.iinfo(np.dtype(f"{kind}{size}")) for size in (1, 2, 4, 8) for kind in "iu"]
    for arrays, expected, k in (
        ((pairs, bytes_d), buffers, 0.25),
        ((pairs.view(np.float32), bytes_d), buffers, np.float32(0.25)),
        (buffers, buffers, np.float64(0.25)),
        ((None, None), (None, None), 1),
    ):
        for numbers in ([x.min for x in limits], [x.max for x in limits]):
            for kinds in ([int] * 8, [x.dtype.type for x in limits]):
                given = [kind(n) for kind, n in zip(kinds, numbers, strict=True)]
                all_given = [*arrays, *given, k, local]
                found = kernel._convert(*all_given)
                assert found == (*expected, *numbers, float(k), local)
                assert {type(n) for n in found[2:10]} == {int}
                assert type(found[10]) is float
                alone = [a.convert(v) for a, v in zip(kernel.arguments, all_given, strict=True)]
                assert tuple(alone) == found
    for i, limit in enumerate(limits, start=2):
        for beyond in (int(limit.min) - 1, int(limit.max) + 1):
            all_given[i] = beyond
            with pytest.raises(ValueError, match=f"{beyond} does not fit"):
                kernel._convert(*all_given)
        all_given[i] = 0


def test_wrong_arrays(session: DeviceSession, arguments: list[object]) -> None:
    kernel = session.kernel_from_source("scale", SOURCE)
    for array, match in (
        (session.zeros(8, np.float64), "float64 given"),
        (session.zeros(8, np.int32), "int32 given"),
        # which may begin inside of its buffer and have gaps
        (session.zeros(18, np.complex64).for_library(session.queue)[9:], "device array is needed"),
    ):
        with pytest.raises(TypeError, match=match):
            kernel((8,), None, arguments[0], array, *arguments[2:])


def test_wrong_number_of_arguments(session: DeviceSession) -> None:
    kernel = session.kernel_from_source("scale", SOURCE)
    with pytest.raises(TypeError, match=r"takes 7 arguments \(input, output, n,"):
        kernel((8,), None, 1)


def test_local_memory_argument(session: DeviceSession) -> None:
    source = "__kernel void f(__local float *scratch, __global float *x) { x[0] = 1.0f; }"
    kernel = session.kernel_from_source("f", source)
    x = session.zeros(1, np.float32)
    with pytest.raises(TypeError, match="LocalMemory"):
        kernel((1,), (1,), 16, x)
    kernel((1,), (1,), cl.LocalMemory(16), x)
    assert session.to_host(x)[0] == 1


def test_kernel_is_built_once(session: DeviceSession) -> None:
    first = session.kernel("device/widen_to_complex")
    assert session.kernel("device/widen_to_complex") is first
    assert session.kernel("device/widen_to_complex", options=("-w",)) is not first


def test_build_error_names_template_line_and_device(session: DeviceSession) -> None:
    source = "__kernel void f(__global float *x)\n{\n    x[0] = undeclared_name;\n}\n"
    with pytest.raises(KernelBuildError, match="undeclared_name") as caught:
        session.kernel_from_source("f", source)
    assert session.info.name.split()[0] in str(caught.value)
    assert "template f " in str(caught.value)


def test_missing_template_and_parameter(session: DeviceSession) -> None:
    with pytest.raises(KernelBuildError, match=r"no_such.cl.mako does not exist"):
        session.kernel("common/no_such")
    with pytest.raises(KernelBuildError, match="template parameter"):
        session.kernel_from_source("f", "__kernel void f(__global ${colour} *x) {}")
    with pytest.raises(KernelBuildError, match="no __kernel of that name"):
        session.kernel_from_source("g", "__kernel void f(__global float *x) {}")


@pytest.mark.parametrize("name", ["types", "atomics", "reduce", "tensor"])
def test_common_templates_render(name: str) -> None:
    assert f"common/{name}" in templates.template_names()
    for real in ("float", "double"):
        for path in FLOAT_ATOMICS_PATHS:
            params = {"real": real, "double_precision": real == "double"}
            source = templates.render(f"common/{name}", {**params, "float_atomics": path})
            assert "static inline" in source
            assert "${" not in source


def test_binary_cache(
    session: DeviceSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PoCL's own cache is left aside here, to run ours
    monkeypatch.setattr(build, "_driver_caches", lambda device: False)
    monkeypatch.setattr(build, "_cache_folder", lambda: tmp_path)
    source = SOURCE + "/* test_binary_cache */"
    for _ in range(2):
        kernel = session.kernel_from_source("scale", source)
        assert len(kernel.arguments) == 7
        x = session.to_device(np.ones(4, session.complex))
        kernel((4,), None, x, x, 4, 3.0, 0, 0, 0j)
        np.testing.assert_array_equal(session.to_host(x), 3)
        files = list(tmp_path.iterdir())
        assert [file.suffix for file in files] == [".bin"]
    files[0].write_bytes(b"cut")  # another rank's crash must not stop this one
    session.kernel_from_source("scale", source)
    assert files[0].stat().st_size > 3
