"""For notebooks: read a run, look at its particles, project, reconstruct, compare maps.

Everything here works on the host, on plain NumPy arrays, and knows no device. Maps are indexed
``[z, y, x]`` and images ``[y, x]``, with the origin at n // 2. Angles are RELION's rot, tilt and
psi in degrees; shifts and resolutions are in Å.
"""

from clrelion.api.comparison import FscCurve, fsc
from clrelion.api.maps import Map, Projector, project, read_map, reconstruct, write_map
from clrelion.api.particles import Particle, Particles, read_particles
from clrelion.api.runs import Run, read_run

__all__ = [
    "FscCurve",
    "Map",
    "Particle",
    "Particles",
    "Projector",
    "Run",
    "fsc",
    "project",
    "read_map",
    "read_particles",
    "read_run",
    "reconstruct",
    "write_map",
]
