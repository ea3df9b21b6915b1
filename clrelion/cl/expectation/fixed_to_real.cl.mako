/* fixed_to_real: move back-projection sums from whole numbers to reals.
 *
 *   target[v] += (data_unit re, data_unit im, weight_unit weight, 0),   (re, im, weight)[v] = 0
 * for (re, im, weight) = sums[3 v], sums[3 v + 1], sums[3 v + 2]. Specification E 1.11.
 *
 * sums long [n_voxels][3], read and cleared;  target real4 [n_voxels], read and written
 * data_unit, weight_unit: powers of two
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/fixed_to_real.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void fixed_to_real(
    __global long* restrict sums, const long n_voxels, const real data_unit,
    const real weight_unit, __global real4* restrict target)
{
    const long v = get_global_id(0);
    if (v >= n_voxels) return;
    __global long* sum = sums + 3 * v;
    target[v] += (real4)(data_unit * (real)sum[0], data_unit * (real)sum[1],
                         weight_unit * (real)sum[2], (real)0);
    sum[0] = sum[1] = sum[2] = 0;
}
