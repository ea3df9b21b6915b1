/* shell_coverage: voxels of each shell whose weight reaches the shell's threshold.
 *
 *   counts[z][s] = number of voxels of shell s in plane z with W >= thresholds[s]
 * Specification M 3.5.
 *
 * volume real4 (re, im, weight, 0), centred half array [edge][edge][nx] from element start, read
 * bounds int [n_shells + 1], squared radii (common/shell_runs), read
 * thresholds real [n_shells], may be infinite, read
 * counts int [edge][n_shells], write
 * Grid: (n_shells, edge), rounded up in the first. Local memory: none. Order of sums: none.
 * Reference: tests/reference/shell_runs.py
 */
<%include file="/common/shell_runs.cl.mako"/>

__kernel void shell_coverage(
    __global const real4* restrict volume, const long start, const int edge, const int nx,
    __global const int* restrict bounds, const int n_shells,
    __global const real* restrict thresholds, __global int* restrict counts)
{
    const int s = get_global_id(0), iz = get_global_id(1);
    if (s >= n_shells) return;
    const int centre = edge / 2, z = iz - centre, low = bounds[s], high = bounds[s + 1];
    const real threshold = thresholds[s];
    int count = 0;
    for (int iy = 0; iy < edge; iy++) {
        const int rest = z * z + (iy - centre) * (iy - centre);
        if (rest >= high) continue;
        const int last = first_column(high - rest, nx);
        __global const real4* row = volume + start + ((long)iz * edge + iy) * nx;
        for (int x = first_column(low - rest, nx); x < last; x++)
            count += row[x].z >= threshold;
    }
    counts[(long)iz * n_shells + s] = count;
}
