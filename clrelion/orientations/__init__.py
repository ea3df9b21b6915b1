"""Orientations and translations: conventions, point groups, sampling grids and their priors.

Pure NumPy and SciPy in float64; every other room may import this one. Comes in: orders, steps and
ranges of the search, the point group, the pose of each particle. Goes out: lists of directions,
psi angles and translations, matrices, and prior weights (Specification E 1.2, 4, 5.7; M 7).
"""
