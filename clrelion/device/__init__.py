"""The device room: the only one that imports pyopencl.

In come a device specification (``--device``), kernel templates and arrays; out come a
:class:`~clrelion.device.session.DeviceSession` with probed capabilities, compiled kernels,
memory plans, transforms and times. Specification: design sections 4 and 5.
"""

from clrelion.device.runtimes import prepare_runtimes

# Before any module of this room imports pyopencl, which reads its own switches at import.
prepare_runtimes()
