"""Make OpenCL runtimes usable that are installed but not registered with the ICD loader.

An OpenCL program finds its drivers by ``*.icd`` files in ``/etc/OpenCL/vendors``. Containers and
pip packages often bring the library without such a file. This module runs before pyopencl asks
the loader for platforms, and imports nothing of it.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import platformdirs

logger = logging.getLogger(__name__)

VENDOR_VARIABLES = ("OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH")
"""If one of them is set, the user has chosen the runtimes and nothing is changed."""

FILENAMES_VARIABLE = "OCL_ICD_FILENAMES"
"""More libraries, colon-separated.  The Khronos loader reads it; ocl-icd, the loader in pyopencl's
wheels, does not, so what it names is registered here."""

SYSTEM_VENDOR_FOLDER = Path("/etc/OpenCL/vendors")
NVIDIA_LIBRARY = "libnvidia-opencl.so.1"
INTEL_LIBRARY = "libintelocl.so"
_LIBRARY_FOLDERS = (
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib/wsl/lib",
    "/usr/local/cuda/compat",
)


@functools.cache
def prepare_runtimes() -> None:
    """Register unregistered runtimes for this process (once); say so in the log.

    Sets ``OCL_ICD_VENDORS`` to a per-user folder of ``.icd`` files that holds the registered
    runtimes as well, if ``OCL_ICD_FILENAMES`` names another one, if NVIDIA's library is on the
    machine without being registered, or if nothing is registered and PyPI's Intel CPU runtime is
    installed (its own ``.icd`` file carries a path of the machine that built it).
    """
    # Ranks would queue for pyopencl's single cache lock, and fail after a minute; our kernels
    # have a cache of their own (build.py) and the drivers of NVIDIA and PoCL keep theirs.
    os.environ.setdefault("PYOPENCL_NO_CACHE", "1")
    if any(os.environ.get(variable) for variable in VENDOR_VARIABLES):
        return
    if not sys.platform.startswith("linux"):
        return
    registered = registered_libraries(SYSTEM_VENDOR_FOLDER)
    if (Path(sys.prefix) / "conda-meta").is_dir():  # conda's loader reads its own folder
        registered += registered_libraries(Path(sys.prefix) / "etc" / "OpenCL" / "vendors")
    added = named_libraries(os.environ.get(FILENAMES_VARIABLE, ""), registered)
    added += unregistered_libraries([*registered, *added])
    if not added:
        return
    folder = _write_vendor_folder([*registered, *added])
    if folder is None:
        return
    os.environ["OCL_ICD_VENDORS"] = str(folder)
    logger.info(
        "OpenCL: %s not registered in %s; used by OCL_ICD_VENDORS=%s",
        ", ".join(added), SYSTEM_VENDOR_FOLDER, folder,
    )  # fmt: skip


def registered_libraries(folder: Path) -> list[str]:
    """Libraries named by the ``.icd`` files of a folder; paths that do not exist are left out."""
    libraries = []
    try:
        files = sorted(folder.glob("*.icd"))
        for file in files:
            library = file.read_text(errors="replace").strip()
            if library and (not os.path.isabs(library) or Path(library).exists()):
                libraries.append(library)
    except OSError as error:
        logger.debug("%s: %s", folder, error)
    return libraries


def named_libraries(filenames: str, registered: list[str]) -> list[str]:
    """Paths of the libraries in a value of ``OCL_ICD_FILENAMES`` that exist, registered ones not.

    Registering a library twice would list its devices twice.
    """
    known = {_file_of(library) for library in registered}
    paths = []
    for name in filter(None, filenames.split(os.pathsep)):
        path = find_library(name)
        if path is None:
            logger.debug("%s names %s, which is not on this machine", FILENAMES_VARIABLE, name)
        elif _file_of(path) not in known:
            known.add(_file_of(path))
            paths.append(path)
    return paths


def _file_of(library: str) -> str:
    """Name of the file that a library's name stands for, symbolic links followed."""
    return os.path.realpath(find_library(library) or library)


def unregistered_libraries(registered: list[str]) -> list[str]:
    """Libraries to add to the registered ones: NVIDIA's; Intel's only if there is nothing else."""
    added = []
    if not any("nvidia" in library.lower() for library in registered):
        nvidia = find_library(NVIDIA_LIBRARY)
        if nvidia is not None:
            added.append(nvidia)
    if not registered and not added:
        intel = Path(sys.prefix) / "lib" / INTEL_LIBRARY
        if intel.exists():
            added.append(str(intel))
    return added


def find_library(name: str) -> str | None:
    """Path of a shared library on this machine, by its file name or path; None if there is none."""
    if os.path.isabs(name):
        return name if Path(name).exists() else None
    for folder in [*os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep), *_LIBRARY_FOLDERS]:
        if folder and (Path(folder) / name).exists():
            return str(Path(folder) / name)
    for line in _loader_cache().splitlines():
        library, arrow, path = line.strip().partition(" => ")
        if arrow and library.split(" ")[0] == name:
            return path
    return None


def _loader_cache() -> str:
    """List the libraries that the dynamic loader knows; empty if it cannot be asked."""
    for command in ("ldconfig", "/sbin/ldconfig"):
        try:
            return subprocess.run(
                [command, "-p"], capture_output=True, text=True, timeout=10, check=True
            ).stdout
        except (OSError, subprocess.SubprocessError):
            continue
    return ""


def _write_vendor_folder(libraries: list[str]) -> Path | None:
    """Folder of ``.icd`` files; its name depends on the content, so processes do not clash."""
    digest = hashlib.sha256("\n".join(libraries).encode()).hexdigest()[:16]
    for base in (Path(platformdirs.user_cache_dir("clrelion")), Path(tempfile.gettempdir())):
        folder = base / f"opencl-vendors-{digest}"
        if base == Path(tempfile.gettempdir()):
            # A shared folder: another user must not be able to plant a library there.
            folder = Path(tempfile.mkdtemp(prefix="clrelion-opencl-vendors-"))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for index, library in enumerate(libraries):
                _write_atomically(folder / f"{index:02d}.icd", library + "\n")
        except OSError as error:
            logger.debug("%s: %s", folder, error)
            continue
        return folder
    logger.warning("OpenCL: no folder to register %s in", ", ".join(libraries))
    return None


def _write_atomically(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(name, path)
