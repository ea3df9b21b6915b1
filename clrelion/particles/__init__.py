"""Particle rows to half-sets, a processing order and batches of images in memory.

In: a :class:`~clrelion.io.particle_table.ParticleTable` and the stacks it names.  Out:
:class:`~clrelion.particles.loader.HostBatch` after HostBatch, read ahead by a thread.
Specification E 2.6 to 2.8, 3.3.
"""
