/* filter_columns: a part of the coefficients of a transform, times a function of the radius.
 *
 *   block(x) = F(x) factors[r^2]   for |x|^2 <= squared_radius, 0 beyond
 * Specification E 3.4 (low-pass filter).
 *
 * transform real2, centred half array [edge][edge][nx], read
 * factors real [squared_radius + 1], read
 * block real2 [n_planes][n_rows][n_columns], write: z = first_plane + plane, less n_planes where
 *     that is more than the radius edge/2 - 1; y = first_row + row; x = first_x + column
 * Grid: (n_columns, n_rows, n_planes), rounded up in x. Local memory: none. Order of sums: none.
 * Reference: tests/reference/map_kernels.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void filter_columns(
    __global const real2* restrict transform, const int edge, const int nx,
    const int squared_radius, __global const real* restrict factors, const int first_plane,
    const int n_planes, const int first_row, const int n_rows, const int first_x,
    const int n_columns, __global real2* restrict block)
{
    const int column = get_global_id(0), row = get_global_id(1), plane = get_global_id(2);
    if (column >= n_columns) return;
    const int centre = edge / 2;
    const int x = first_x + column, y = first_row + row;
    const int z = first_plane + plane - (first_plane + plane >= centre ? n_planes : 0);
    const int r2 = x * x + y * y + z * z;
    real2 value = (real2)((real)0);
    if (r2 <= squared_radius)
        value = factors[r2] * transform[((long)(z + centre) * edge + y + centre) * nx + x];
    block[((long)plane * n_rows + row) * n_columns + column] = value;
}
