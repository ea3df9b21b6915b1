/* divide_volume: data divided by the regularised, floored weights, for a part of the coefficients.
 *
 *   block(x) = D(x) / max(regularised weight, floor),   (prior, floor) = factors[|x|^2]
 * for |x|^2 <= squared_radius, 0 beyond; D itself where the divisor is 0
 * Specification M 2.1, 2.2a.
 *
 * volume real4 (re, im, weight, 0), centred half array [edge][edge][nx] from element start, read
 * factors real2 [squared_radius + 1]: prior (see common/regularised_weight) and floor, read
 * block real2 [n_planes][n_rows][n_columns], write: z = first_plane + plane, less n_planes where
 *     that is more than the radius edge/2 - 1; y = first_row + row; x = first_x + column
 * Grid: (n_columns, n_rows, n_planes), rounded up in x. Local memory: none. Order of sums: none.
 * Reference: tests/reference/divide_volume.py
 */
<%include file="/common/regularised_weight.cl.mako"/>

__kernel void divide_volume(
    __global const real4* restrict volume, const long start, const int edge, const int nx,
    const int squared_radius, __global const real2* restrict factors, const int first_plane,
    const int n_planes, const int first_row, const int n_rows, const int first_x,
    const int n_columns, __global real2* restrict block)
{
    const int column = get_global_id(0), row = get_global_id(1), plane = get_global_id(2);
    if (column >= n_columns) return;
    const int centre = edge / 2;
    const int x = first_x + column, y = first_row + row;
    const int z = first_plane + plane - (first_plane + plane >= centre ? n_planes : 0);
    const int r2 = x * x + y * y + z * z;
    real2 quotient = (real2)((real)0);
    if (r2 <= squared_radius) {
        const real4 v = volume[start + ((long)(z + centre) * edge + y + centre) * nx + x];
        const real2 f = factors[r2];
        const real divisor = fmax(regularised_weight(v.z, f.x), f.y);
        quotient = divisor == (real)0 ? v.xy : v.xy / divisor;
    }
    block[((long)plane * n_rows + row) * n_columns + column] = quotient;
}
