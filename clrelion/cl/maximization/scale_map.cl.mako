/* scale_map: multiply a map by a function of the radius.
 *
 *   volume <- volume factors[r^2]
 * Specification M 2.4 (gridding correction and scale of a reference).
 *
 * volume real [n][n][n], origin n/2, changed
 * factors real [3 (n/2)^2 + 1], by squared radius, voxels^2, read
 * Grid: (n, n, n), rounded up in x. Local memory: none. Order of sums: none.
 * Reference: tests/reference/map_kernels.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void scale_map(
    __global real* restrict volume, const int n, __global const real* restrict factors)
{
    const int ix = get_global_id(0), iy = get_global_id(1), iz = get_global_id(2);
    if (ix >= n) return;
    const int x = ix - n / 2, y = iy - n / 2, z = iz - n / 2;
    volume[((long)iz * n + iy) * n + ix] *= factors[x * x + y * y + z * z];
}
