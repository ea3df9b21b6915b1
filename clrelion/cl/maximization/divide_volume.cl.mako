/* divide_volume: data divided by the regularised, floored weights, for a run of columns.
 *
 *   block(x) = D(x) / max(regularised weight, floor of the shell)   for |x|^2 <= squared_radius,
 *   0 beyond; D itself where the divisor is 0
 * Specification M 2.1, 2.2a.
 *
 * volume real4 (re, im, weight, 0), centred half array [edge][edge][nx] from element start, read
 * floor_bounds int [n_floors + 1], floors real [n_floors]: shells and floors, the last one also
 *     beyond, read
 * bounds int [n_shells + 1], priors real [n_shells]: see common/regularised_weight, read
 * block real2 [edge - 2][edge - 2][n_columns], columns from first_column_of_block, axes z and y
 *     without the margin of one voxel, write
 * Grid: (n_columns, edge - 2, edge - 2), rounded up in x. Local memory: none. Order of sums: none.
 * Reference: tests/reference/divide_volume.py
 */
<%include file="/common/regularised_weight.cl.mako"/>

__kernel void divide_volume(
    __global const real4* restrict volume, const long start, const int edge, const int nx,
    const int squared_radius, __global const int* restrict floor_bounds,
    __global const real* restrict floors, const int n_floors, __global const int* restrict bounds,
    __global const real* restrict priors, const int n_shells, const real per_shell,
    const int first_column_of_block, const int n_columns, __global real2* restrict block)
{
    const int column = get_global_id(0), iy = get_global_id(1), iz = get_global_id(2);
    if (column >= n_columns) return;
    const int x = first_column_of_block + column, lines = edge - 2;
    const int y = iy + 1 - edge / 2, z = iz + 1 - edge / 2;
    const int r2 = x * x + y * y + z * z;
    real2 quotient = (real2)((real)0);
    if (r2 <= squared_radius) {
        const real4 v = volume[start + ((long)(iz + 1) * edge + iy + 1) * nx + x];
        const real weight = regularised_weight(
            v.z, r2, squared_radius, bounds, priors, n_shells, (float)per_shell);
        const real least = floors[shell_of(r2, floor_bounds, n_floors, (float)per_shell)];
        const real divisor = fmax(weight, least);
        quotient = divisor == (real)0 ? v.xy : v.xy / divisor;
    }
    block[((long)iz * lines + iy) * n_columns + column] = quotient;
}
