"""OpenCL C kernel templates: one ``.cl.mako`` a computation mode, in folders named like the rooms.

In come template parameters (integers fixed per run, type names, capability flags); out comes
OpenCL C 1.2 source with one ``__kernel`` of the file's own name. ``common/`` holds device
functions only. :mod:`clrelion.device.templates` renders them.
"""
