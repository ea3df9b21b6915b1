/* filter_columns: a run of columns of a transform, times a function of the radius.
 *
 *   block(x) = F(x) factors[r^2]   for |x|^2 <= squared_radius, 0 beyond
 * Specification E 3.4 (low-pass filter).
 *
 * transform real2, centred half array [edge][edge][nx], read
 * factors real [squared_radius + 1], read
 * block real2 [edge - 2][edge - 2][n_columns], columns from first, axes z and y without the margin
 *     of one voxel, write
 * Grid: (n_columns, edge - 2, edge - 2), rounded up in x. Local memory: none. Order of sums: none.
 * Reference: tests/reference/map_kernels.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void filter_columns(
    __global const real2* restrict transform, const int edge, const int nx,
    const int squared_radius, __global const real* restrict factors, const int first,
    const int n_columns, __global real2* restrict block)
{
    const int column = get_global_id(0), iy = get_global_id(1), iz = get_global_id(2);
    if (column >= n_columns) return;
    const int x = first + column, y = iy + 1 - edge / 2, z = iz + 1 - edge / 2;
    const int r2 = x * x + y * y + z * z;
    real2 value = (real2)((real)0);
    if (r2 <= squared_radius)
        value = factors[r2] * transform[((long)(iz + 1) * edge + iy + 1) * nx + x];
    block[((long)iz * (edge - 2) + iy) * n_columns + column] = value;
}
