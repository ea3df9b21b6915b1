"""A session for kernel tests: every test device in each precision that it has."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from clrelion.device.choice import list_devices, matching_devices
from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceError

# As in tests/conftest.py, whose `session` and `session_double` cannot be the two values of one
# parameter: pytest would multiply the devices of one by the devices of the other.
_DEVICES = [
    name.strip()
    for name in os.environ.get("CLRELION_TEST_DEVICES", "Portable Computing Language").split(",")
    if name.strip()
]


@pytest.fixture(
    scope="session",
    params=[(device, precision) for precision in ("single", "double") for device in _DEVICES],
    ids=lambda param: f"{param[0].split()[0]}-{param[1]}",
)
def any_session(request: pytest.FixtureRequest) -> Iterator[DeviceSession]:
    """Open a session on each device of ``CLRELION_TEST_DEVICES`` in each precision."""
    device, precision = request.param
    try:
        yield DeviceSession(matching_devices(device, list_devices())[0], precision)
    except DeviceError as error:
        if precision == "single" and "CLRELION_TEST_DEVICES" in os.environ:
            pytest.fail(f"CLRELION_TEST_DEVICES: {error}")
        pytest.skip(str(error))
