"""Every option of a refinement, in one model.

:class:`RefineOptions` makes the flags and the ``--help`` of the command line (``clrelion.cli``),
the table in ``docs/options.md``, and is what the refinement reads. Flags and defaults are RELION's
(Specification E 7.1, 7.2); a switched-off value, -1 on RELION's command line, is ``None`` here.
"""

from clrelion.options.flags import POINT_GROUPS, Flag
from clrelion.options.rules import RefineOptions, flag_of, flags

__all__ = ["POINT_GROUPS", "Flag", "RefineOptions", "flag_of", "flags"]
