"""Particles from an atomic model or a map, with known poses: data to test and to time with.

Stands beside the road of the data: it writes files that the other rooms read, and nothing but the
command line imports it.
"""
