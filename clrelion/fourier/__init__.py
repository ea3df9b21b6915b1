"""Fourier space on the host: layouts, shells, transforms, CTF, masks, filters and map FSC.

Everything here is NumPy and SciPy in double precision and imports no other room, so that every
convention of the specification (E 1.1-1.5, E 1.8-1.10) has exactly one definition.
"""
