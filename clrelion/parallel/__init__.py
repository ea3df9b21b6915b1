"""Work sharing over MPI ranks, one rank a device; the only room that may import mpi4py.

A run is one process for now.
"""
