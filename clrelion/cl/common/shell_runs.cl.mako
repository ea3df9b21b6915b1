<%doc>
Shells of a centred half array. Shell s holds the voxels with bounds[s] <= r^2 < bounds[s + 1], r^2
the squared integer radius, bounds ascending: the same voxels as the host's table of rounded radii,
with no rounding left to do. In a row (z, y) they are one run of columns.

    first_column(t, nx)        smallest x >= 0 with x^2 >= t; nx if that is not below nx

Template parameters: real, double_precision. Reference: tests/reference/shell_runs.py.
Local memory: none.
</%doc>
<%include file="/common/types.cl.mako"/>
#ifndef CLRELION_SHELL_RUNS
#define CLRELION_SHELL_RUNS
static inline int first_column(const int t, const int nx)
{
    if (t <= 0) return 0;
    if (t > (nx - 1) * (nx - 1)) return nx;
    int x = (int)sqrt((float)t);
    while (x * x >= t) x--;
    while (x * x < t) x++;
    return x;
}
#endif
