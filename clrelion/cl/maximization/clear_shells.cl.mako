/* clear_shells: zero a transform outside a range of radii.
 *
 *   F(x) = 0 unless inner < |x|^2 <= outer; with lacks_lowest also at (0, 0, -P) and (0, -P, 0),
 *   P = centre - 1, the frequencies -N_p/2 that a half transform does not hold
 * Specification E 1.6 (4, 6), F.6.
 *
 * transform real2, centred half array [edge][edge][nx] from element start, changed
 * Grid: (nx, edge, edge), rounded up in x. Local memory: none. Order of sums: none.
 * Reference: tests/reference/shell_runs.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void clear_shells(
    __global real2* restrict transform, const long start, const int edge, const int nx,
    const int inner, const int outer, const int lacks_lowest)
{
    const int x = get_global_id(0), iy = get_global_id(1), iz = get_global_id(2);
    if (x >= nx) return;
    const int y = iy - edge / 2, z = iz - edge / 2;
    const int r2 = x * x + y * y + z * z;
    const int lowest = lacks_lowest && x == 0 && ((iz == 1 && y == 0) || (iy == 1 && z == 0));
    if (r2 <= inner || r2 > outer || lowest)
        transform[start + ((long)iz * edge + iy) * nx + x] = (real2)((real)0);
}
