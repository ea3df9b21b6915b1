"""Times of transforms that were measured on this machine, kept for later runs."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from clrelion.fourier.transforms import workers_or_default

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["MeasuredTimes"]

logger = logging.getLogger(__name__)

_PACKAGES = {"host": "scipy", "kernel": "clrelion", "reikna": "reikna", "pyvkfft": "pyvkfft"}


class MeasuredTimes:
    """Seconds of one transform by each library, on one device and driver.

    Parameters
    ----------
    session : DeviceSession
    what : str
        Kind and size, e.g. ``images of 256 px``.
    """

    def __init__(self, session: DeviceSession, what: str) -> None:
        info = session.info
        self._key = f"{info.label}, driver {info.driver}, {session.precision}, {what}"

    def get(self, library: str) -> float | None:
        """Seconds by this version of a library, or None if they were not measured."""
        seconds = _read().get(self._key, {}).get(_named(library))
        return float(seconds) if isinstance(seconds, int | float) else None

    def put(self, library: str, seconds: float) -> None:
        """Keep what was measured; where nothing can be written it is measured again next time."""
        path = _path()
        known = _read()
        known.setdefault(self._key, {})[_named(library)] = seconds
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
            os.replace(temporary, path)
        except OSError as error:
            logger.debug("times of transforms are not kept: %s", error)


def _path() -> Path:
    return Path(platformdirs.user_cache_dir("clrelion")) / "transforms.json"


def _read() -> dict[str, dict[str, object]]:
    try:
        known = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


@functools.cache
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "?"


def _named(library: str) -> str:
    """Name of a library with its version; the host's with the number of threads too."""
    threads = f", {workers_or_default()} threads" if library == "host" else ""
    return f"{library} {_version(_PACKAGES[library])}{threads}"
