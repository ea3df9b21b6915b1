"""The program with the kernels of graphics cards, on whatever device there is."""

from __future__ import annotations

import sys
from typing import Any
from unittest import mock

from clrelion.cli import refine
from clrelion.device.session import DeviceSession
from clrelion.refinement import devices


def card(*arguments: Any, **names: Any) -> DeviceSession:
    """Open a session that takes its device for a graphics card."""
    session = DeviceSession(*arguments, **names)
    session.is_cpu = False
    return session


def main() -> int:
    """Run ``clrelion_refine``; no report is drawn."""
    mock.patch("clrelion.report.live.write_report", return_value=None).start()
    mock.patch.object(devices, "DeviceSession", card).start()
    return refine.refine(sys.argv[1:], program="clrelion_refine")


if __name__ == "__main__":
    sys.exit(main())
