/* direction_sums: the posterior weight of each class and coarse direction.
 *
 *   sums[block_direction[b]] += sum of row_sum over the rows_per_block rows of block b
 * as integers in units of 2^-42 (common/weight_sum), multiples of 2^coarser of them: no rounding
 * beside large sums, and the same result whatever the order. Specification E 5.6; M 4.2.
 *
 * block_direction int [blocks], row_sum real [rows], read
 * sums uint2 [classes * directions] (low and high word), read and written
 * Local memory: none. Order of sums: rows ascending; blocks in any order, exactly.
 * Reference: tests/reference/direction_sums.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/weight_sum.cl.mako"/>

__kernel void direction_sums(
    __global const int* restrict block_direction, __global const real* restrict row_sum,
    const int rows_per_block, const int n_blocks, const uint coarser,
    __global uint* restrict sums)
{
    const int b = get_global_id(0);
    if (b >= n_blocks) return;
    real sum = (real)0;
    for (int n = b * rows_per_block; n < (b + 1) * rows_per_block; n++) sum += row_sum[n];
    if (sum > (real)0) add_weight(sums + 2L * block_direction[b], sum, coarser);
}
