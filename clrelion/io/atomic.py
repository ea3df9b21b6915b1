"""Write a file completely or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clrelion.errors import ClrelionError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path in the folder of `path` that becomes `path` when the block succeeds.

    Parameters
    ----------
    path
        The file to write.

    Yields
    ------
    pathlib.Path
        Path to write to.  It is removed when the block raises.

    Raises
    ------
    ClrelionError
        The file cannot be written; names the file and the system's reason.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ClrelionError(
            f"{target}: cannot be written ({reason}); check that the folder exists, "
            "is writable and has space"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
