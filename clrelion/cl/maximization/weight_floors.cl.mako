/* weight_floors: regularised weights by shell, for the radial floor of the division.
 *
 *   sums[z][m] = (sum of regularised weights, number of voxels) over shell m of plane z
 * Specification M 2.2a.
 *
 * volume real4 (re, im, weight, 0), centred half array [edge][edge][nx] from element start, read
 * floor_bounds int [n_floors + 1], squared radii of the shells that are averaged, read
 * priors real [squared_radius + 1], by squared radius: see common/regularised_weight; the weights
 *     beyond count as 0, read
 * sums double or float2 [edge][n_floors][2] (common/wide_sum), write
 * Grid: (n_floors, edge * ${lanes}) in work-groups of (${width}, ${lanes}), rounded up in the first: the
 * lanes share the rows of a plane. Local memory: ${width * lanes} wide numbers.
 * Order of sums: rows of a lane, then columns, ascending; then the lanes.
 * Reference: tests/reference/divide_volume.py
 */
<%include file="/common/lane_sums.cl.mako"/>
<%include file="/common/shell_runs.cl.mako"/>
<%include file="/common/regularised_weight.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${width}, ${lanes}, 1)))
void weight_floors(
    __global const real4* restrict volume, const long start, const int edge, const int nx,
    const int squared_radius, __global const int* restrict floor_bounds, const int n_floors,
    __global const real* restrict priors, __global ${"double" if wide == "double" else "float2"}* restrict sums)
{
    __local wide scratch[${width * lanes}];
    const int m = get_global_id(0), iz = get_group_id(1), lane = get_local_id(1);
    const bool is_shell = m < n_floors;
    const int centre = edge / 2, z = iz - centre;
    const int low = is_shell ? floor_bounds[m] : 0;
    const int high = is_shell ? floor_bounds[m + 1] : 0;
    wide total = WIDE_ZERO;
    int count = 0;
    for (int iy = lane; iy < edge; iy += ${lanes}) {
        const int rest = z * z + (iy - centre) * (iy - centre);
        if (rest >= high) continue;
        const int last = first_column(high - rest, nx);
        __global const real4* row = volume + start + ((long)iz * edge + iy) * nx;
        for (int x = first_column(low - rest, nx); x < last; x++) {
            const int r2 = rest + x * x;
            if (r2 <= squared_radius) wide_add(&total, regularised_weight(row[x].z, priors[r2]));
            count++;
        }
    }
    total = lane_sum(total, scratch);
    wide number = WIDE_ZERO;
    wide_add(&number, count);
    number = lane_sum(number, scratch);
    if (lane > 0 || !is_shell) return;
    sums += 2 * ((long)iz * n_floors + m);
    sums[0] = total;
    sums[1] = number;
}
