/* weight_floors_vector: weight_floors for CPUs, one work-item a plane, each row once.
 *
 *   sums[z][m] = (sum of regularised weights, number of voxels) over shell m of plane z
 * Specification M 2.2a.
 *
 * Arguments as in weight_floors.
 * Grid: edge. Local memory: none. Order of sums: rows, then columns, ascending.
 * Reference: tests/reference/divide_volume.py
 */
<%include file="/common/wide_sum.cl.mako"/>
<%include file="/common/regularised_weight.cl.mako"/>

__kernel void weight_floors_vector(
    __global const real4* restrict volume, const long start, const int edge, const int nx,
    const int squared_radius, __global const int* restrict floor_bounds, const int n_floors,
    __global const real* restrict priors,
    __global ${"double" if wide == "double" else "float2"}* restrict sums)
{
    const int iz = get_global_id(0), centre = edge / 2, z = iz - centre;
    sums += 2 * (long)iz * n_floors;
    for (int m = 0; m < 2 * n_floors; m++) sums[m] = WIDE_ZERO;
    for (int iy = 0, first = 0; iy < edge; iy++) {
        const int rest = z * z + (iy - centre) * (iy - centre);
        if (rest >= floor_bounds[n_floors]) continue;
        while (first > 0 && rest < floor_bounds[first]) first--;
        while (rest >= floor_bounds[first + 1]) first++;
        __global const real4* row = volume + start + ((long)iz * edge + iy) * nx;
        int x = 0;
        while (x < nx && rest + x * x < floor_bounds[first]) x++;
        for (int m = first; m < n_floors && x < nx; m++) {
            const int begin = x, high = floor_bounds[m + 1] - rest;
            const int inside = min(high, squared_radius - rest + 1);
            wide total = sums[2 * m], number = sums[2 * m + 1];
            for (; x < nx && x * x < inside; x++)
                wide_add(&total, regularised_weight(row[x].z, priors[rest + x * x]));
            for (; x < nx && x * x < high; x++) {}
            wide_add(&number, x - begin);
            sums[2 * m] = total;
            sums[2 * m + 1] = number;
        }
    }
}
