"""Work on files in a process of its own, so that it does not hold this one's interpreter.

Formatting text holds Python's lock: in a thread it keeps the main thread from its device.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import pickle
import select
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

__all__ = ["ProcessLostError", "WritingProcess", "serve"]

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from clrelion.io.writing_process import serve; serve()"
)
_END_SECONDS = 10.0
# libraries would start a thread a core, for nothing
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_PIPE_BYTES = 1 << 20
_LENGTH = struct.Struct("<Q")


class ProcessLostError(Exception):
    """The process could not be started, was killed, or does not understand."""


class _ThereError(Exception):
    """Where an error was raised in the process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class WritingProcess:
    """Calls functions in a process that is started when it is first needed.

    It does one thing at a time and keeps its modules' variables from call to call. Functions must
    be importable by name, arguments and results picklable; arrays go without being copied, and
    must not change meanwhile. To be used by one thread at a time.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_asked = False
        self._is_lost = False

    @property
    def is_lost(self) -> bool:
        """Whether the process has been lost; it is not started again."""
        return self._is_lost

    @property
    def is_busy(self) -> bool:
        """Whether something has begun whose end is not known yet."""
        if not self._is_asked or self._process is None:
            return False
        answers = select.poll()  # select() knows no large numbers of files
        answers.register(self._process.stdout, select.POLLIN)  # type: ignore[arg-type]
        return not answers.poll(0)

    def call(self, function: Callable[..., Result], *args: Any) -> Result:
        """Call `function` there, or here once the process is lost.

        Raises
        ------
        Exception
            What `function` raises.
        """
        try:
            return self.ask(function, *args)
        except ProcessLostError:
            return function(*args)

    def ask(self, function: Callable[..., Result], *args: Any) -> Result:
        """Call `function` there.

        Raises
        ------
        ProcessLostError
            The process is lost.
        Exception
            What `function` raises.
        """
        self.begin(function, *args)
        found: Result = self.result()
        return found

    def begin(self, function: Callable[..., object], *args: Any) -> None:
        """Let the process begin; `result` waits for the end.

        Raises
        ------
        ProcessLostError
            The process is lost.
        """
        assert not self._is_asked, "the answer before has not been taken"
        if self._is_lost:
            raise ProcessLostError
        with self._losing():
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _START, json.dumps(sys.path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**os.environ, **_ONE_THREAD},
                    start_new_session=True,  # an interrupt is this process's business
                )
                _widen(self._process.stdin)
                _widen(self._process.stdout)
            _send(self._process.stdin, (function, args))
            self._is_asked = True

    def result(self) -> Any:
        """Wait for what was begun; give its result or raise its error.

        Raises
        ------
        ProcessLostError
            The process is lost.
        """
        assert self._process is not None
        with self._losing():
            error, where, found = _receive(self._process.stdout)
            self._is_asked = False
        if error is not None:
            raise error from _ThereError(where)
        return found

    def drop(self) -> None:
        """Wait for what may have been begun, and forget it."""
        if self._is_asked:
            with contextlib.suppress(Exception):
                self.result()

    @contextlib.contextmanager
    def _losing(self) -> Any:
        """Give the process up if a message was not sent or received as a whole."""
        try:
            yield
        except BaseException as error:
            self._is_lost = True
            self._is_asked = False
            process, self._process = self._process, None
            if process is not None:
                _kill(process)
            if not isinstance(error, Exception):
                raise
            code = "" if process is None else f", exit code {process.returncode}"
            logger.warning(
                "a process that writes files was lost (%s%s); they are written without it",
                type(error).__name__, code,
            )  # fmt: skip
            raise ProcessLostError from error

    def close(self) -> None:
        """Let the process finish what it has begun, and end it."""
        process, self._process = self._process, None
        if process is None:
            return
        self._is_asked = False
        try:
            process.communicate(timeout=_END_SECONDS)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            _kill(process)
        except BaseException:
            _kill(process)
            raise


def _widen(pipe: Any) -> None:
    """Let more go through a pipe at a time: each time, its reader asks for Python's lock."""
    with contextlib.suppress(AttributeError, OSError):  # not Linux, or more than is allowed
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # what waits in it to be sent
            pipe.close()  # type: ignore[union-attr]
    process.wait()


def serve() -> None:
    """Call what is asked for on standard input, until it ends."""
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what prints must not get between the answers
    while True:
        try:
            function, args = _receive(asked)
        except EOFError:
            return
        answer: tuple[Exception | None, str, Any]
        try:
            answer = None, "", function(*args)
        except Exception as error:
            answer = error, traceback.format_exc(), None
        try:
            _send(answers, answer)
        except BrokenPipeError:  # nobody waits for it any more
            os._exit(0)
        del function, args, answer


def _send(out: Any, message: object) -> None:
    """Send an object; the memory of arrays goes as it is, outside of Python's lock."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(body), *(buffer.raw() for buffer in buffers)]
    out.write(_LENGTH.pack(len(parts)) + b"".join(_LENGTH.pack(part.nbytes) for part in parts))
    for part in parts:
        out.write(part)
    out.flush()


def _receive(source: Any) -> Any:
    """Receive an object; EOFError if there is none, or not a whole one."""
    (count,) = _LENGTH.unpack(_read(source, _LENGTH.size))
    lengths = [n for (n,) in _LENGTH.iter_unpack(_read(source, count * _LENGTH.size))]
    body, *buffers = [_read(source, n) for n in lengths]
    return pickle.loads(body, buffers=buffers)


def _read(source: Any, n_bytes: int) -> memoryview:
    found = np.empty(n_bytes, np.uint8).data  # no time is lost on zeros
    if source.readinto(found) != n_bytes:
        raise EOFError("the other side has ended")
    return found
