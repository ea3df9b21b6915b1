"""Build a kernel once, check its arguments by type at every call, and launch it cheaply."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyopencl as cl

from clrelion.device.array import Array
from clrelion.device.build import build_program
from clrelion.device.memory import raise_if_out_of_memory
from clrelion.device.templates import QUALIFIERS, Parameter, parse_signature
from clrelion.errors import KernelBuildError

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

_SCALAR_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(dtype)
    for name, dtype in {
        "char": np.int8,
        "uchar": np.uint8,
        "short": np.int16,
        "ushort": np.uint16,
        "int": np.int32,
        "uint": np.uint32,
        "long": np.int64,
        "ulong": np.uint64,
        "float": np.float32,
        "double": np.float64,
        "unsigned char": np.uint8,
        "unsigned short": np.uint16,
        "unsigned int": np.uint32,
        "unsigned": np.uint32,
        "unsigned long": np.uint64,
    }.items()
}
_GROUP, _SMALL_GROUP = 256, 64
_COMPLEX_OF = {np.dtype(np.float32): np.complex64, np.dtype(np.float64): np.complex128}


class ArgumentType:
    """What one kernel parameter accepts; converts a Python value to what pyopencl wants.

    Parameters
    ----------
    kernel_name : str
        For messages.
    parameter : Parameter
        The declared type.
    real : numpy.dtype
        What ``real`` stands for in this session.

    Attributes
    ----------
    convert : callable
        ``convert(value)``; raises TypeError for a wrong kind of value or dtype, and ValueError for
        a number that the declared integer type cannot hold.
    launch_dtype : numpy.dtype or None
        Scalar type to declare to pyopencl, None for buffers and vectors.
    usual, usual_result : str
        Expressions in ``value`` and ``known``: the test that most values pass, and what ``convert``
        makes of such a value.  An empty test: none does.
    known : object
        For them.
    """

    def __init__(self, kernel_name: str, parameter: Parameter, real: np.dtype[Any]) -> None:
        self.parameter = parameter
        self._where = f"kernel {kernel_name}, argument {parameter.name}"
        self._dtype, self._width = _split_vector(parameter.type_name, real)
        self.launch_dtype: np.dtype[Any] | None = None
        self.convert: Callable[[Any], Any]
        self.usual, self.usual_result = "", "value"
        self.known: Any = None
        if parameter.is_local:
            self.convert = self._convert_local
        elif parameter.is_pointer:
            self.convert = self._convert_array
            self.known = self._accepted_dtypes()
            self.usual_result = "value.base_data"
            self.usual = "type(value) is Array" + " and value.dtype in known" * bool(self.known)
        elif self._dtype is None or self._width > 1:
            self.convert = self._convert_vector
        elif self._dtype.kind in "iu":
            self.launch_dtype = self._dtype
            self.convert = self._convert_integer
            limits = np.iinfo(self._dtype)
            self.usual = f"type(value) is int and {limits.min} <= value <= {limits.max}"
        else:
            self.launch_dtype = self._dtype
            self.convert = self._convert_real
            self.usual = "type(value) is float"

    def _accepted_dtypes(self) -> tuple[np.dtype[Any], ...]:
        if self._dtype is None:
            return ()
        if self._width % 2 == 0 and self._dtype in _COMPLEX_OF:
            return np.dtype(_COMPLEX_OF[self._dtype]), self._dtype
        return (self._dtype,)

    def _convert_array(self, value: Any) -> Any:
        if type(value) is Array:
            if self.known and value.dtype not in self.known:
                names = " or ".join(sorted(str(dtype) for dtype in self.known))
                raise TypeError(
                    f"{self._where}: array of {value.dtype} given, "
                    f"{self.parameter.type_name}* needs {names}"
                )
            return value.base_data
        if value is None or isinstance(value, cl.MemoryObjectHolder):
            return value
        raise TypeError(
            f"{self._where}: a device array is needed, not {type(value).__name__}; "
            "use session.to_device(...)"
        )

    def _convert_local(self, value: Any) -> Any:
        if isinstance(value, cl.LocalMemory):
            return value
        raise TypeError(f"{self._where}: __local pointers take pyopencl.LocalMemory(bytes)")

    def _convert_integer(self, value: Any) -> int:
        if type(value) is not int and not isinstance(value, np.integer):
            raise TypeError(
                f"{self._where}: {self.parameter.type_name} needs an integer, "
                f"not {type(value).__name__}"
            )
        number = int(value)
        assert self._dtype is not None
        limits = np.iinfo(self._dtype)
        if not limits.min <= number <= limits.max:
            raise ValueError(f"{self._where}: {number} does not fit {self.parameter.type_name}")
        return number

    def _convert_real(self, value: Any) -> float:
        if isinstance(value, (float, int, np.integer, np.floating)) and not isinstance(value, bool):
            return float(value)
        raise TypeError(
            f"{self._where}: {self.parameter.type_name} needs a real number, "
            f"not {type(value).__name__}"
        )

    def _convert_vector(self, value: Any) -> Any:
        if self._dtype is None:
            return value  # a struct by value: the caller packs it
        flat = np.atleast_1d(np.asarray(value))
        if np.iscomplexobj(flat):
            flat = np.stack([flat.real, flat.imag], axis=-1).reshape(-1)
        if flat.size != self._width:
            raise TypeError(
                f"{self._where}: {self.parameter.type_name} needs {self._width} numbers, "
                f"{flat.size} given"
            )
        return flat.astype(self._dtype).tobytes()


def _split_vector(type_name: str, real: np.dtype[Any]) -> tuple[np.dtype[Any] | None, int]:
    """Split ``float4`` into (float32, 4); (None, 1) for types we know nothing of."""
    name = type_name
    if name == "real" or (name.startswith("real") and name[4:].isdigit()):
        name = ("float" if real == np.float32 else "double") + name[4:]
    for width in (16, 8, 4, 3, 2):
        if name.endswith(str(width)) and name[: -len(str(width))] in _SCALAR_DTYPES:
            # OpenCL stores three-vectors in the room of four
            return _SCALAR_DTYPES[name[: -len(str(width))]], 4 if width == 3 else width
    return _SCALAR_DTYPES.get(name), 1


def _converter_of_all(arguments: Sequence[ArgumentType]) -> Callable[..., tuple[Any, ...]]:
    """Compile the conversions of all arguments to one function.

    A run makes thousands of launches a second of up to thirty arguments, nearly all of which are as
    usual: no call is made for these.
    """
    scope: dict[str, Any] = {"Array": Array}
    values = []
    for i, argument in enumerate(arguments):
        scope[f"known{i}"], scope[f"convert{i}"] = argument.known, argument.convert
        code = f"convert{i}(value)"
        if argument.usual:
            code = f"{argument.usual_result} if {argument.usual} else {code}"
        values.append(code.replace("value", f"value{i}").replace("known", f"known{i}") + ", ")
    names = ", ".join(f"value{i}" for i in range(len(arguments)))
    exec(f"def convert({names}): return ({''.join(values)})", scope)
    convert: Callable[..., tuple[Any, ...]] = scope["convert"]
    return convert


class Kernel:
    """One compiled kernel of a session. Call it as ``kernel(global_size, local_size, *args)``.

    Made by :meth:`clrelion.device.session.DeviceSession.kernel`.

    Attributes
    ----------
    name : str
        Name of the ``__kernel`` function.
    source : str
        Rendered OpenCL C.
    arguments : list of ArgumentType
        One for each parameter, in order.
    """

    def __init__(
        self,
        session: DeviceSession,
        name: str,
        source: str,
        *,
        label: str,
        options: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.source = source
        self._session = session
        parsed = parse_signature(source, name)
        program = build_program(
            session.context,
            session.device,
            source,
            language=session.capabilities.language,
            options=options,
            label=label,
        )
        try:
            self._kernel = cl.Kernel(program, name)
        except cl.Error as error:
            raise KernelBuildError(
                f"kernel template {label}: no kernel called {name} in the built program ({error})"
            ) from error
        parameters = _built_parameters(self._kernel, parsed)
        real = np.dtype(session.real)
        self.arguments = [ArgumentType(name, parameter, real) for parameter in parameters]
        self._convert = _converter_of_all(self.arguments)
        self._n_arguments = len(self.arguments)
        self._kernel.set_scalar_arg_dtypes([a.launch_dtype for a in self.arguments])
        # clSetKernelArg and the launch are two calls: threads must not interleave them.
        self._lock = threading.Lock()
        self._largest_group: int | None = None

    def __call__(
        self, global_size: tuple[int, ...], local_size: tuple[int, ...] | None, *args: Any
    ) -> cl.Event:
        """Check the arguments and enqueue the kernel on the session's in-order queue.

        Parameters
        ----------
        global_size : tuple of int
            Work-items per dimension; a multiple of ``local_size``.
        local_size : tuple of int or None
            Work-group size.  None leaves it to the driver on CPUs; elsewhere work-groups run along
            the first dimension, whose size is rounded up: the kernel must leave surplus
            work-items out.
        *args
            Device arrays, Python or NumPy numbers, ``None`` for a null pointer,
            ``pyopencl.LocalMemory`` for ``__local`` parameters.

        Returns
        -------
        pyopencl.Event

        Raises
        ------
        TypeError, ValueError
            An argument does not match the kernel's signature.
        DeviceMemoryError
            The device has no memory left.
        """
        if len(args) != self._n_arguments:
            names = ", ".join(argument.parameter.name for argument in self.arguments)
            raise TypeError(
                f"kernel {self.name} takes {self._n_arguments} arguments ({names}), "
                f"{len(args)} given"
            )
        values = self._convert(*args)
        session = self._session
        if local_size is None and not session.is_cpu:
            global_size, local_size = self._grouped(global_size)
        try:
            with self._lock:
                event: cl.Event = self._kernel(session.queue, global_size, local_size, *values)
        except cl.Error as error:
            raise_if_out_of_memory(f"kernel {self.name}", error)
            raise
        session.profile.launched(self.name, event)
        return event

    def _grouped(self, global_size: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Choose work-groups: drivers take a divisor of the size, which may be 1."""
        if self._largest_group is None:
            self._largest_group = self.max_work_group_size()
        wanted = _GROUP if global_size[0] >= 4 * _GROUP else _SMALL_GROUP
        group = min(wanted, self._largest_group)
        first = -(-global_size[0] // group) * group
        return (first, *global_size[1:]), (group,) + (1,) * (len(global_size) - 1)

    def max_work_group_size(self) -> int:
        """Largest work-group the device can run this kernel with."""
        return int(
            self._kernel.get_work_group_info(
                cl.kernel_work_group_info.WORK_GROUP_SIZE, self._session.device
            )
        )


def _built_parameters(kernel: cl.Kernel, parsed: list[Parameter]) -> list[Parameter]:
    """Take types from the built kernel where the driver tells them, else from the source."""
    if kernel.num_args != len(parsed):
        raise KernelBuildError(
            f"kernel {kernel.function_name}: {kernel.num_args} arguments built, "
            f"{len(parsed)} found in the source; write its parameters without macros"
        )
    info = cl.kernel_arg_info
    result = []
    for index, fallback in enumerate(parsed):
        try:
            type_name = str(kernel.get_arg_info(index, info.TYPE_NAME))
            address = kernel.get_arg_info(index, info.ADDRESS_QUALIFIER)
        except cl.Error:
            result.append(fallback)
            continue
        is_pointer = type_name.endswith("*")
        is_local = address == cl.kernel_arg_address_qualifier.LOCAL
        # some drivers repeat the qualifiers in the type's name
        element = " ".join(w for w in type_name.rstrip("* ").split() if w not in QUALIFIERS)
        result.append(Parameter(fallback.name, element, is_pointer, is_local))
    return result
