"""RELION's 3D classification and 3D auto-refine of cryo-EM particles on any OpenCL device."""

from clrelion.constants import VERSION

__version__ = VERSION
__all__ = ["__version__"]
