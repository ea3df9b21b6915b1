"""The rows of ``clrelion devices``."""

from __future__ import annotations

from dataclasses import dataclass

from clrelion.device.choice import DeviceInfo, list_devices
from clrelion.device.memory import format_bytes
from clrelion.device.self_test import self_test
from clrelion.device.session import DeviceSession


@dataclass(frozen=True)
class DeviceRow:
    """What the table says of one device; texts are for people.

    Attributes
    ----------
    spec : str
        ``PLATFORM:INDEX``, to give to ``--device``.
    platform, device, kind, driver : str
    memory_bytes, largest_allocation_bytes : int
    n_compute_units : int
    fp64, float_atomics, tensor : str
        Probed; ``?`` where the probes could not run.
    passed : bool
        Self-test result.
    self_test : str
        ``passed`` or what failed.
    self_test_seconds : float
    uuid : str or None
    """

    spec: str
    platform: str
    device: str
    kind: str
    driver: str
    memory_bytes: int
    largest_allocation_bytes: int
    n_compute_units: int
    fp64: str
    float_atomics: str
    tensor: str
    passed: bool
    self_test: str
    self_test_seconds: float
    uuid: str | None


def device_table() -> list[DeviceRow]:
    """Probe and test every OpenCL device of this machine.

    A device that fails keeps its row and says why.

    Raises
    ------
    DeviceError
        There is no OpenCL device at all; the message says what to install.
    """
    return [_row(info) for info in list_devices()]


def _row(info: DeviceInfo) -> DeviceRow:
    fp64 = atomics = tensor = "?"
    passed, message, seconds = False, "", 0.0
    try:
        session = DeviceSession(info)
        fp64 = "yes" if session.capabilities.fp64 else "no"
        atomics = session.capabilities.float_atomics_name
        tensor = session.capabilities.tensor
        result = self_test(session)
        passed, message, seconds = result.passed, result.message, result.seconds
    except Exception as error:  # a broken driver may raise anything; the listing goes on
        message = "failed: " + " ".join(str(error).split())
    return DeviceRow(
        spec=f"{info.platform_index}:{info.device_index}",
        platform=info.platform_name,
        device=info.name,
        kind=info.kind,
        driver=info.driver,
        memory_bytes=info.global_memory_bytes,
        largest_allocation_bytes=info.max_allocation_bytes,
        n_compute_units=info.n_compute_units,
        fp64=fp64,
        float_atomics=atomics,
        tensor=tensor,
        passed=passed,
        self_test=message,
        self_test_seconds=seconds,
        uuid=info.uuid,
    )


def format_table(rows: list[DeviceRow]) -> str:
    """Text of the table, one block a device (names are too long for columns)."""
    blocks = []
    for row in rows:
        facts = [
            ("platform", row.platform),
            ("driver", row.driver),
            ("memory", f"{format_bytes(row.memory_bytes)}, largest buffer "
             f"{format_bytes(row.largest_allocation_bytes)}"),
            ("compute units", str(row.n_compute_units)),
            ("double precision", row.fp64),
            ("float atomics", row.float_atomics),
            ("tensor path", row.tensor),
            ("self-test", f"{row.self_test} ({row.self_test_seconds:.1f} s)"),
        ]  # fmt: skip
        if row.uuid is not None:
            facts.append(("uuid", row.uuid))
        lines = [f"{row.spec}  {row.device} ({row.kind})"]
        lines += [f"    {name:<18}{value}" for name, value in facts]
        blocks.append("\n".join(lines))
    return "\n".join(blocks)
