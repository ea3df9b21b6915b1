"""Named workloads, timed step by step and kernel by kernel, against ceilings of the device.

What `clrelion bench` runs; nothing on the road imports it.
"""
