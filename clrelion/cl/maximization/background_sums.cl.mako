/* background_sums: what the filling of a map's corners needs.
 *
 *   sums[0][z][x] = sum over y of g v,   sums[1][z][x] = sum over y of g,   g = weights[r^2]
 * Specification M 4.4 (softmask). The first sum is finite only if every voxel is, as 0 times what is
 * not is not.
 *
 * volume real [n][n][n], origin n/2, read
 * weights real [3 (n/2)^2 + 1], share of the background by squared radius, voxels^2, read
 * sums double or float2 [2][n][n] (common/wide_sum), write
 * Grid: (n, n), rounded up in the first. Local memory: none. Order of sums: ascending.
 * Reference: tests/reference/map_kernels.py
 */
<%include file="/common/wide_sum.cl.mako"/>

__kernel void background_sums(
    __global const real* restrict volume, const int n, __global const real* restrict weights,
    __global ${"double" if wide == "double" else "float2"}* restrict sums)
{
    const int ix = get_global_id(0), iz = get_global_id(1);
    if (ix >= n) return;
    const int x = ix - n / 2, z = iz - n / 2;
    wide weighted = WIDE_ZERO, total = WIDE_ZERO;
    for (int iy = 0; iy < n; iy++) {
        const int y = iy - n / 2;
        const real v = volume[((long)iz * n + iy) * n + ix];
        const real g = weights[x * x + y * y + z * z];
        wide_add(&weighted, g * v);
        wide_add(&total, g);
    }
    sums += (long)iz * n + ix;
    sums[0] = weighted;
    sums[(long)n * n] = total;
}
