"""The errors of clrelion.

Every error that a user can cause or can do something about derives from
:class:`ClrelionError`. The command line turns it into one line on stderr and exit code 1
(:class:`AbortRequested`: exit code 2); anything else is a defect of the program and comes with
a traceback. A message is one line, names the file, row, label, option or device it
speaks of, and says what to do.
"""


class ClrelionError(Exception):
    """Base of all errors that a user can act on."""


class OptionsError(ClrelionError, ValueError):
    """An option is unknown, out of range, or contradicts another one."""


class StarError(ClrelionError, ValueError):
    """A STAR file cannot be read or lacks something; names file, block, row and label."""


class ImageError(ClrelionError, ValueError):
    """An MRC map or image stack is missing, truncated or of the wrong size."""


class DeviceError(ClrelionError, RuntimeError):
    """No usable OpenCL device, or one that fails its self-test."""


class KernelBuildError(DeviceError):
    """A kernel template does not compile on a device; carries the template path and build log."""


class DeviceMemoryError(DeviceError, MemoryError):
    """A device allocation failed; the caller halves the batch and goes on."""


class NumericalError(ClrelionError, ArithmeticError):
    """NaN, infinity or a zero sum of weights; names the particle and the stage."""


class ContinueError(ClrelionError, ValueError):
    """A run cannot be continued from the given optimiser file."""


class RanksDisagreeError(ClrelionError, RuntimeError):
    """Ranks have found different values where all must find the same; names the ranks."""


class PeerFailed(ClrelionError):  # noqa: N818  (the failure is another rank's)
    """Another rank cannot go on, and has said why."""


class AbortRequested(ClrelionError):  # noqa: N818  (a request, not an error)
    """The user asked a running job to stop (RELION_JOB_ABORT_NOW)."""
