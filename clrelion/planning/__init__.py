"""The memory planner: from the limits of a device and the sizes of a job to sizes of launches.

Numbers in, numbers out: no device, no particle and no option is looked at here.
"""
