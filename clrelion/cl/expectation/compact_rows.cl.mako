/* compact_rows: the significant translations of the kept rows as one contiguous list.
 *
 * Kept row m is row kept[m] of the blocks; its entries [entry_start[m], entry_start[m + 1]):
 *   entry_trans = fine translation (coarse * n_children + child),  entry_omega = its weight.
 * Specification E 5.6; the paper's aux vector.
 *
 * samples real, block_out long, block_trans, block_n_trans int [blocks], trans_list int,
 * kept int [n_kept], entry_start int [n_kept + 1], read
 * entry_trans int, entry_omega real, write
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/compact_rows.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void compact_rows(
    __global const real* restrict samples, __global const long* restrict block_out,
    __global const int* restrict block_trans, __global const int* restrict block_n_trans,
    __global const int* restrict trans_list, const int n_children, const int rows_per_block,
    __global const int* restrict kept, __global const int* restrict entry_start, const int n_kept,
    __global int* restrict entry_trans, __global real* restrict entry_omega)
{
    const int m = get_global_id(0);
    if (m >= n_kept) return;
    const int n = kept[m];
    const int b = n / rows_per_block;
    const int per_row = block_n_trans[b] * n_children;
    __global const real* w = samples + block_out[b] + (long)(n % rows_per_block) * per_row;
    int place = entry_start[m];
    for (int s = 0; s < per_row; s++)
        if (w[s] > (real)0) {
            entry_trans[place] =
                trans_list[block_trans[b] + s / n_children] * n_children + s % n_children;
            entry_omega[place++] = w[s];
        }
}
