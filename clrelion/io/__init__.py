"""Files of a run to plain arrays and back: STAR tables, MRC stacks and maps, run files.

In: paths of STAR and MRC files in RELION's formats.  Out: dataclasses of NumPy arrays
(:class:`~clrelion.io.particle_table.ParticleTable`, :class:`~clrelion.io.run_files.ModelFile`
...), and the same written back.  Knows no device.  Specification E 2 (input), E 6 (output).
"""
