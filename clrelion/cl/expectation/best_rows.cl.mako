/* best_rows: orientation and translation of the best sample of each image.
 *
 * Image i has the blocks [block_start[i], block_start[i + 1]) and its best sample is the
 * found[i].x-th of them, counted over rows and translations. With its row n and its translation t
 * (coarse * n_children + child):
 *   pose[i] = (row_class[n], row_frame[n], row_psi[n], t, found[i].y),
 * the first four -1 where found[i].x < 0. Every block has rows_per_block rows. Specification E 5.6.
 *
 * found int2 [images] (kernel weights_fine), block_start int [images + 1], block_out long [blocks],
 * block_trans, block_n_trans int [blocks], trans_list int, row_class, row_frame, row_psi int
 * [rows], read; pose int [images][5], write
 * Local memory: none. Order of sums: integers.
 * Reference: tests/reference/best_rows.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void best_rows(
    __global const int2* restrict found, __global const int* restrict block_start,
    __global const long* restrict block_out, __global const int* restrict block_trans,
    __global const int* restrict block_n_trans, __global const int* restrict trans_list,
    __global const int* restrict row_class, __global const int* restrict row_frame,
    __global const int* restrict row_psi, const int rows_per_block, const int n_children,
    const int n_images, __global int* restrict pose)
{
    const int i = get_global_id(0);
    if (i >= n_images) return;
    pose[5 * i + 4] = found[i].y;
    if (found[i].x < 0) {
        for (int c = 0; c < 4; c++) pose[5 * i + c] = -1;
        return;
    }
    const long sample = block_out[block_start[i]] + found[i].x;
    int b = block_start[i], after = block_start[i + 1];
    while (after - b > 1) {
        const int middle = b + (after - b) / 2;
        if (block_out[middle] <= sample) b = middle; else after = middle;
    }
    const int per_row = block_n_trans[b] * n_children;
    const int within = (int)(sample - block_out[b]);
    const int n = b * rows_per_block + within / per_row, u = within % per_row;
    pose[5 * i] = row_class[n];
    pose[5 * i + 1] = row_frame[n];
    pose[5 * i + 2] = row_psi[n];
    pose[5 * i + 3] = trans_list[block_trans[b] + u / n_children] * n_children + u % n_children;
}
