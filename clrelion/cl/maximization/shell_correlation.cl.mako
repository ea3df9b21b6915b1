/* shell_correlation: products of two transforms by shell, for the FSC.
 *
 *   sums[z][s] = (sum Re a conj(b), sum |a|^2, sum |b|^2) over the voxels of shell s in plane z
 * Specification M 1.6 B.
 *
 * first, second real2, centred half arrays [edge][edge][nx], read
 * bounds int [n_shells + 1], squared radii (common/shell_runs), read
 * sums double or float2 [edge][n_shells][3] (common/wide_sum), write
 * Grid: (n_shells, edge), rounded up in the first. Local memory: none.
 * Order of sums: rows, then columns, ascending.
 * Reference: tests/reference/shell_runs.py
 */
<%include file="/common/wide_sum.cl.mako"/>
<%include file="/common/shell_runs.cl.mako"/>

__kernel void shell_correlation(
    __global const real2* restrict first, __global const real2* restrict second, const int edge,
    const int nx, __global const int* restrict bounds, const int n_shells,
    __global ${"double" if wide == "double" else "float2"}* restrict sums)
{
    const int s = get_global_id(0), iz = get_global_id(1);
    if (s >= n_shells) return;
    const int centre = edge / 2, z = iz - centre, low = bounds[s], high = bounds[s + 1];
    wide products = WIDE_ZERO, power_a = WIDE_ZERO, power_b = WIDE_ZERO;
    for (int iy = 0; iy < edge; iy++) {
        const int rest = z * z + (iy - centre) * (iy - centre);
        if (rest >= high) continue;
        const int last = first_column(high - rest, nx);
        const long row = ((long)iz * edge + iy) * nx;
        for (int x = first_column(low - rest, nx); x < last; x++) {
            const real2 a = first[row + x], b = second[row + x];
            wide_add(&products, a.x * b.x + a.y * b.y);
            wide_add(&power_a, complex_norm2(a));
            wide_add(&power_b, complex_norm2(b));
        }
    }
    sums += 3 * ((long)iz * n_shells + s);
    sums[0] = products;
    sums[1] = power_a;
    sums[2] = power_b;
}
