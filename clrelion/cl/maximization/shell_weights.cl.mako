/* shell_weights: weights of back-projection sums by shell.
 *
 *   sums[z][s] = (sum W, sum W^2, number of voxels) over the voxels of shell s in plane z
 * Specification M 3.1, 3.3.
 *
 * volume real4 (re, im, weight, 0), centred half array [edge][edge][nx] from element start, read
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
void shell_weights(
    __global const real4* restrict volume, const long start, const int edge, const int nx,
    __global const int* restrict bounds, const int n_shells,
    __global ${"double" if wide == "double" else "float2"}* restrict sums)
{
    __local wide scratch[${width * lanes}];
    const int s = get_global_id(0), iz = get_group_id(1), lane = get_local_id(1);
    const bool is_shell = s < n_shells;
    const int centre = edge / 2, z = iz - centre, low = is_shell ? bounds[s] : 0;
    const int high = is_shell ? bounds[s + 1] : 0;
    wide total = WIDE_ZERO, squares = WIDE_ZERO;
    int count = 0;
    for (int iy = lane; iy < edge; iy += ${lanes}) {
        const int rest = z * z + (iy - centre) * (iy - centre);
        if (rest >= high) continue;
        const int last = first_column(high - rest, nx);
        __global const real4* row = volume + start + ((long)iz * edge + iy) * nx;
        for (int x = first_column(low - rest, nx); x < last; x++) {
            const real weight = row[x].z;
            wide_add(&total, weight);
            wide_add(&squares, ${"(double)weight" if wide == "double" else "weight"} * weight);
            count++;
        }
    }
    total = lane_sum(total, scratch);
    squares = lane_sum(squares, scratch);
    wide number = WIDE_ZERO;
    wide_add(&number, count);
    number = lane_sum(number, scratch);
    if (lane > 0 || !is_shell) return;
    sums += 3 * ((long)iz * n_shells + s);
    sums[0] = total;
    sums[1] = squares;
    sums[2] = number;
}
