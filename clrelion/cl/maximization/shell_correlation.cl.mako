/* shell_correlation: products of two transforms by shell, for the FSC.
 *
 *   sums[z][s] = (sum Re a conj(b), sum |a|^2, sum |b|^2) over the voxels of shell s in plane z
 * Specification M 1.6 B.
 *
 * first, second real2, centred half arrays [edge][edge][nx], read
 * bounds int [n_shells + 1], squared radii (common/shell_runs), read
 * sums double or float2 [edge][n_shells][3] (common/wide_sum), write
 * Grid: (n_shells, edge * ${lanes}) in work-groups of (${width}, ${lanes}), rounded up in the first: the
 * lanes share the rows of a plane. Local memory: ${width * lanes} wide numbers.
 * Order of sums: rows of a lane, then columns, ascending; then the lanes.
 * Reference: tests/reference/shell_runs.py
 */
<%include file="/common/lane_sums.cl.mako"/>
<%include file="/common/shell_runs.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${width}, ${lanes}, 1)))
void shell_correlation(
    __global const real2* restrict first, __global const real2* restrict second, const int edge,
    const int nx, __global const int* restrict bounds, const int n_shells,
    __global ${"double" if wide == "double" else "float2"}* restrict sums)
{
    __local wide scratch[${width * lanes}];
    const int s = get_global_id(0), iz = get_group_id(1), lane = get_local_id(1);
    const bool is_shell = s < n_shells;
    const int centre = edge / 2, z = iz - centre, low = is_shell ? bounds[s] : 0;
    const int high = is_shell ? bounds[s + 1] : 0;
    wide products = WIDE_ZERO, power_a = WIDE_ZERO, power_b = WIDE_ZERO;
    for (int iy = lane; iy < edge; iy += ${lanes}) {
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
    products = lane_sum(products, scratch);
    power_a = lane_sum(power_a, scratch);
    power_b = lane_sum(power_b, scratch);
    if (lane > 0 || !is_shell) return;
    sums += 3 * ((long)iz * n_shells + s);
    sums[0] = products;
    sums[1] = power_a;
    sums[2] = power_b;
}
