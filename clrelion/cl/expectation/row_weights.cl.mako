/* row_weights: total weight and number of significant translations of each row (orientation).
 *
 *   row_sum[n] = sum_s omega,  row_count[n] = #{ s : omega > 0 }   over the row's samples,
 *   row_kept[n] = 1 if there are any, else 0.
 * Every block has rows_per_block rows. Specification E 5.6.
 *
 * samples real, block_out long [blocks], block_n_trans int [blocks], read
 * row_sum real [rows], row_count, row_kept int [rows], write
 * Local memory: none. Order of sums: ascending.
 * Reference: tests/reference/row_weights.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void row_weights(
    __global const real* restrict samples, __global const long* restrict block_out,
    __global const int* restrict block_n_trans, const int n_children, const int rows_per_block,
    const int n_rows, __global real* restrict row_sum, __global int* restrict row_count,
    __global int* restrict row_kept)
{
    const int n = get_global_id(0);
    if (n >= n_rows) return;
    const int b = n / rows_per_block;
    const int per_row = block_n_trans[b] * n_children;
    __global const real* w = samples + block_out[b] + (long)(n % rows_per_block) * per_row;
    real sum = (real)0;
    int count = 0;
    for (int s = 0; s < per_row; s++) {
        sum += w[s];
        count += w[s] > (real)0;
    }
    row_sum[n] = sum;
    row_count[n] = count;
    row_kept[n] = count > 0;
}
