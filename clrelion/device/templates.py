"""Render the kernel templates of ``clrelion/cl`` and read the signature of what comes out."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mako.exceptions
from mako.lookup import TemplateLookup
from mako.template import Template

from clrelion.errors import KernelBuildError

TEMPLATE_FOLDER = Path(__file__).resolve().parent.parent / "cl"
"""Folder of the kernel templates, inside the installed package."""

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_LOCAL = frozenset({"__local", "local"})
QUALIFIERS = _LOCAL | {
    *("__global", "global", "__constant", "constant", "__private", "private"),
    *("const", "volatile", "restrict", "__restrict"),
}
"""Words of a parameter's declaration that are no part of its type."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel signature.

    Attributes
    ----------
    name : str
        As written in the source.
    type_name : str
        Element type without qualifiers, e.g. ``float2``.
    is_pointer : bool
    is_local : bool
        Pointer into work-group local memory.
    """

    name: str
    type_name: str
    is_pointer: bool
    is_local: bool


@functools.cache
def _lookup() -> TemplateLookup:
    return TemplateLookup(directories=[str(TEMPLATE_FOLDER)], strict_undefined=True)


def template_path(name: str) -> Path:
    """Path of the template called ``name``, e.g. ``expectation/project``."""
    return TEMPLATE_FOLDER / f"{name}.cl.mako"


def template_names() -> list[str]:
    """Names of all templates in the package, e.g. ``common/atomics``, sorted."""
    paths = TEMPLATE_FOLDER.rglob("*.cl.mako")
    return sorted(
        path.relative_to(TEMPLATE_FOLDER).as_posix().removesuffix(".cl.mako") for path in paths
    )


def render(name: str, params: Mapping[str, Any]) -> str:
    """Render the template file ``name``.

    Parameters
    ----------
    name : str
        Template path below ``clrelion/cl`` without ``.cl.mako``.
    params : mapping
        Template parameters; a name the template uses and that is missing here is an error.

    Raises
    ------
    KernelBuildError
        The template does not exist, lacks a parameter or has a syntax error.
    """
    path = template_path(name)
    if not path.is_file():
        raise KernelBuildError(f"kernel template {path} does not exist")
    try:
        template = _lookup().get_template(f"/{name}.cl.mako")
    except mako.exceptions.MakoException as error:
        raise KernelBuildError(f"kernel template {path}: {error}") from error
    return _render(template, str(path), params)


def render_source(label: str, source: str, params: Mapping[str, Any]) -> str:
    """Render template text that is not a file of the package (used by probes and tests).

    ``<%include file="/common/atomics.cl.mako"/>`` works as in the files.

    Raises
    ------
    KernelBuildError
        A parameter is missing or the text has a Mako syntax error.
    """
    try:
        template = Template(source, lookup=_lookup(), strict_undefined=True, uri=f"/{label}")
    except mako.exceptions.MakoException as error:
        raise KernelBuildError(f"kernel template {label}: {error}") from error
    return _render(template, label, params)


def _render(template: Template, label: str, params: Mapping[str, Any]) -> str:
    try:
        return str(template.render(**params))
    except NameError as error:  # strict_undefined
        raise KernelBuildError(
            f"kernel template {label}: {error}; pass it as a template parameter"
        ) from error
    except mako.exceptions.MakoException as error:
        raise KernelBuildError(f"kernel template {label}: {error}") from error


def parse_signature(source: str, kernel_name: str) -> list[Parameter]:
    """Read the parameters of ``__kernel void kernel_name(...)`` from rendered source.

    This is what types a kernel when the driver keeps no argument information (kernels loaded
    from a binary).

    Raises
    ------
    KernelBuildError
        The source has no such kernel.
    """
    text = _COMMENT.sub(" ", source)
    match = re.search(
        rf"\b(?:__)?kernel\b[^;{{}}]*?\b{re.escape(kernel_name)}\s*\(([^)]*)\)", text, re.DOTALL
    )
    if match is None:
        raise KernelBuildError(
            f"kernel {kernel_name}: the source holds no __kernel of that name "
            "(kernel and template file must be called the same)"
        )
    declarations = [part.strip() for part in match.group(1).split(",")]
    return [_parse_parameter(part) for part in declarations if part not in ("", "void")]


def _parse_parameter(declaration: str) -> Parameter:
    is_pointer = "*" in declaration
    words = declaration.replace("*", " * ").split()
    is_local = not _LOCAL.isdisjoint(words)
    kept = [word for word in words if word not in QUALIFIERS and word != "*"]
    return Parameter(kept[-1], " ".join(kept[:-1]), is_pointer, is_local)
