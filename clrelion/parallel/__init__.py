"""Work sharing over MPI ranks, one rank a device; the only room that imports mpi4py.

Particles are shared out and claimed, sums and results exchanged, and the job is watched, so that
it ends when a rank fails.  A run of one process goes through the same code with a communicator of
its own that needs no MPI.  Knows nothing of devices: arrays are NumPy's.
"""
