"""Schedules: initialisation, the loop over iterations, sampling, resolution and convergence."""
