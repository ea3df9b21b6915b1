/* shell_coverage: voxels of each shell whose weight reaches the shell's threshold.
 *
 *   counts[z][s] = number of voxels of shell s in plane z with W >= thresholds[s]
 * Specification M 3.5.
 *
 * volume real4 (re, im, weight, 0), centred half array [edge][edge][nx] from element start, read
 * bounds int [n_shells + 1], squared radii (common/shell_runs), read
 * thresholds real [n_shells], may be infinite, read
 * counts int [edge][n_shells], write
 * Grid: (n_shells, edge * ${lanes}) in work-groups of (${width}, ${lanes}), rounded up in the first: the
 * lanes share the rows of a plane. Local memory: ${width * lanes} ints. Order of sums: none.
 * Reference: tests/reference/shell_runs.py
 */
<%include file="/common/lane_sums.cl.mako"/>
<%include file="/common/shell_runs.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${width}, ${lanes}, 1)))
void shell_coverage(
    __global const real4* restrict volume, const long start, const int edge, const int nx,
    __global const int* restrict bounds, const int n_shells,
    __global const real* restrict thresholds, __global int* restrict counts)
{
    __local int scratch[${width * lanes}];
    const int s = get_global_id(0), iz = get_group_id(1), lane = get_local_id(1);
    const bool is_shell = s < n_shells;
    const int centre = edge / 2, z = iz - centre, low = is_shell ? bounds[s] : 0;
    const int high = is_shell ? bounds[s + 1] : 0;
    const real threshold = is_shell ? thresholds[s] : (real)0;
    int count = 0;
    for (int iy = lane; iy < edge; iy += ${lanes}) {
        const int rest = z * z + (iy - centre) * (iy - centre);
        if (rest >= high) continue;
        const int last = first_column(high - rest, nx);
        __global const real4* row = volume + start + ((long)iz * edge + iy) * nx;
        for (int x = first_column(low - rest, nx); x < last; x++)
            count += row[x].z >= threshold;
    }
    count = lane_sum_int(count, scratch);
    if (lane == 0 && is_shell) counts[(long)iz * n_shells + s] = count;
}
