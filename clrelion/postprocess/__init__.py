"""Post-processing of two half maps: mask, FSC within it, sharpening (specification M 8).

Stands beside the road: reads the half maps of a run, knows no device.
"""
