"""Central slices of maps on the host: projections out of a map, a map from known poses.

Stands beside the road, which does both on the device (`expectation`); nothing there imports it.
"""
