"""Compile rendered OpenCL C: options, readable errors, and a binary cache safe for many ranks."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import platformdirs
import pyopencl as cl

from clrelion.errors import KernelBuildError

logger = logging.getLogger(__name__)

BASE_OPTIONS = ("-cl-mad-enable", "-cl-kernel-arg-info")
"""Build options of every kernel, beside the language version."""

_N_LOG_LINES = 40
_LINE_IN_LOG = re.compile(r":(\d+):\d+:\s*(?:fatal )?error")


def build_program(
    context: cl.Context,
    device: cl.Device,
    source: str,
    *,
    language: str,
    options: Sequence[str] = (),
    label: str,
) -> cl.Program:
    """Compile ``source`` for ``device``, or load its binary from the cache.

    Parameters
    ----------
    context, device
        Where to build.
    source : str
        Rendered OpenCL C.
    language : str
        OpenCL C version, e.g. ``CL1.2``.
    options : sequence of str
        Added to :data:`BASE_OPTIONS`.
    label : str
        Template path, for the message.

    Raises
    ------
    KernelBuildError
        With the device's name, the template, the source line and the build log.
    """
    all_options = [f"-cl-std={language}", *BASE_OPTIONS, *options]
    path = None if _driver_caches(device) else _cache_path(device, source, all_options)
    if path is not None:
        cached = _load_binary(context, device, path, all_options)
        if cached is not None:
            return cached
    start = time.perf_counter()
    program = cl.Program(context, source)
    try:
        _build(program, all_options, device)
    except cl.Error as error:
        raise KernelBuildError(_build_message(label, device, source, error)) from error
    logger.debug("built %s on %s in %.2f s", label, device.name, time.perf_counter() - start)
    if path is not None:
        _store_binary(program, path)
    return program


def _build(program: cl.Program, options: Sequence[str], device: cl.Device) -> None:
    with warnings.catch_warnings():
        # Intel's compiler comments on every build; what matters is an error.
        warnings.simplefilter("ignore", cl.CompilerWarning)
        program.build(" ".join(options), devices=[device])


def _build_message(label: str, device: cl.Device, source: str, error: cl.Error) -> str:
    log = str(error).strip()
    match = _LINE_IN_LOG.search(log)
    excerpt = ""
    if match is not None:
        lines = source.splitlines()
        number = int(match.group(1))
        if 0 < number <= len(lines):
            excerpt = f"; rendered line {number}: {lines[number - 1].strip()}"
    short = "\n".join(log.splitlines()[:_N_LOG_LINES])
    return (
        f"kernel template {label} does not compile on {device.name.strip()}"
        f" (driver {device.driver_version}){excerpt}; build log:\n{short}"
    )


def _driver_caches(device: cl.Device) -> bool:
    """Whether the driver keeps compiled kernels itself (NVIDIA and PoCL do)."""
    platform = device.platform
    return "NVIDIA" in platform.vendor or platform.name == "Portable Computing Language"


@functools.cache
def _cache_folder() -> Path | None:
    folder = Path(platformdirs.user_cache_dir("clrelion")) / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.debug("no kernel cache: %s", error)
        return None
    return folder


def _cache_path(device: cl.Device, source: str, options: Sequence[str]) -> Path | None:
    folder = _cache_folder()
    if folder is None:
        return None
    platform = device.platform
    identity = (
        platform.name, platform.version, device.vendor, device.name, device.version,
        device.driver_version, *options, source,
    )  # fmt: skip
    digest = hashlib.sha256("\0".join(identity).encode()).hexdigest()
    return folder / f"{digest}.bin"


def _load_binary(
    context: cl.Context, device: cl.Device, path: Path, options: Sequence[str]
) -> cl.Program | None:
    try:
        binary = path.read_bytes()
    except OSError:
        return None
    try:
        program = cl.Program(context, [device], [binary])
        _build(program, options, device)
    except cl.Error as error:  # a cut file or another driver's binary: build from source again
        logger.debug("kernel cache %s is not usable: %s", path, error)
        return None
    return program


def _store_binary(program: cl.Program, path: Path) -> None:
    """Write under a temporary name and rename, so that ranks never read half a file nor wait."""
    try:
        binaries: Any = program.get_info(cl.program_info.BINARIES)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(binaries[0])
        os.replace(name, path)
    except (OSError, cl.Error) as error:
        logger.debug("kernel cache %s not written: %s", path, error)
