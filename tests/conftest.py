"""Fixtures of all tests: an OpenCL session on each test device, and the shared data folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from clrelion.device import measured_times
from clrelion.device.choice import list_devices, matching_devices
from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceError

# By platform name, never by number: installing another runtime changes the numbers.
_DEFAULT_DEVICES = "Portable Computing Language"
_DEVICES = [
    name.strip()
    for name in os.environ.get("CLRELION_TEST_DEVICES", _DEFAULT_DEVICES).split(",")
    if name.strip()
]


@pytest.fixture(autouse=True)
def logging_untouched() -> None:
    """Undo what earlier runs of the command line did to the loggers: caplog needs them plain."""
    for name in ("clrelion", "py.warnings"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.NOTSET)
        logger.handlers = []
        logger.propagate = True
    logging.captureWarnings(False)


@pytest.fixture(scope="session", params=_DEVICES)
def session(request: pytest.FixtureRequest) -> DeviceSession:
    """Single precision, on each device of ``CLRELION_TEST_DEVICES`` (default: PoCL)."""
    try:
        return DeviceSession(matching_devices(request.param, list_devices())[0])
    except DeviceError as error:
        if "CLRELION_TEST_DEVICES" in os.environ:
            pytest.fail(f"CLRELION_TEST_DEVICES: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def session_double(session: DeviceSession) -> DeviceSession:
    """Double precision on the device of ``session``, if it has it."""
    try:
        return DeviceSession(session.info, "double")
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the specification's test data, beside the repository."""
    folder = Path(__file__).resolve().parent.parent.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    return folder


@pytest.fixture(autouse=True, scope="session")
def times_of_transforms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests measure, or pretend to, is not remembered for the user's runs."""
    path = tmp_path_factory.mktemp("cache") / "transforms.json"
    with mock.patch.object(measured_times, "_path", return_value=path):
        yield
