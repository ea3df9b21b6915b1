/* shell_power: power of a transform by shell.
 *
 *   sums[z][s] = (sum |F|^2, number of voxels) over the voxels of shell s in plane z
 * Specification M 2.4, E 1.6.
 *
 * transform real2, centred half array [edge][edge][nx] from element start, read
 * bounds int [n_shells + 1], squared radii (common/shell_runs), read
 * sums double or float2 [edge][n_shells][2] (common/wide_sum), write
 * Grid: (n_shells, edge), rounded up in the first. Local memory: none.
 * Order of sums: rows, then columns, ascending.
 * Reference: tests/reference/shell_runs.py
 */
<%include file="/common/wide_sum.cl.mako"/>
<%include file="/common/shell_runs.cl.mako"/>

__kernel void shell_power(
    __global const real2* restrict transform, const long start, const int edge, const int nx,
    __global const int* restrict bounds, const int n_shells,
    __global ${"double" if wide == "double" else "float2"}* restrict sums)
{
    const int s = get_global_id(0), iz = get_global_id(1);
    if (s >= n_shells) return;
    const int centre = edge / 2, z = iz - centre, low = bounds[s], high = bounds[s + 1];
    wide total = WIDE_ZERO;
    int count = 0;
    for (int iy = 0; iy < edge; iy++) {
        const int rest = z * z + (iy - centre) * (iy - centre);
        if (rest >= high) continue;
        const int last = first_column(high - rest, nx);
        __global const real2* row = transform + start + ((long)iz * edge + iy) * nx;
        for (int x = first_column(low - rest, nx); x < last; x++) {
            wide_add(&total, complex_norm2(row[x]));
            count++;
        }
    }
    sums += 2 * ((long)iz * n_shells + s);
    sums[0] = total;
    wide number = WIDE_ZERO;
    wide_add(&number, count);
    sums[1] = number;
}
