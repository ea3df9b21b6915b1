/* finish_map: scale a map, fill its corners, correct it for the interpolation kernel.
 *
 *   volume <- ((1 - g) scale volume + g background) c,   (g, c) = factors[r^2]
 * Specification M 2.3 (3-5).
 *
 * volume real [n][n][n], origin n/2, changed
 * factors real2 [3 (n/2)^2 + 1], by squared radius, voxels^2, read
 * Grid: (n, n, n), rounded up in x. Local memory: none. Order of sums: none.
 * Reference: tests/reference/map_kernels.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void finish_map(
    __global real* restrict volume, const int n, __global const real2* restrict factors,
    const real scale, const real background)
{
    const int ix = get_global_id(0), iy = get_global_id(1), iz = get_global_id(2);
    if (ix >= n) return;
    const int x = ix - n / 2, y = iy - n / 2, z = iz - n / 2;
    const real2 factor = factors[x * x + y * y + z * z];
    const long place = ((long)iz * n + iy) * n + ix;
    const real v = scale * volume[place];
    volume[place] = (v + factor.x * (background - v)) * factor.y;
}
