"""The command line: RELION's grammar in, one refinement out.

One thin file a command (``refine``, ``devices``); ``parser`` turns arguments into
:class:`clrelion.options.RefineOptions`, ``relion_flags`` holds what RELION has and clrelion maps,
ignores or refuses. Nothing imports this package. Specification E 7.
"""
