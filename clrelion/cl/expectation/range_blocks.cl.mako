/* range_blocks: blocks of at most rows_per_block rows over a range of each image's list.
 *
 * Block b of image i, block_start[i] <= b < block_start[i + 1], k = b - block_start[i]:
 *   block_image = i,  block_row = prior_base[i] + first[i] + k * rows_per_block,
 *   block_n_rows = min(rows_per_block, count[i] - k * rows_per_block),
 *   block_trans = 0,  block_n_trans = n_trans,  block_out = block_row * n_trans
 * and for each of its rows e:  row_projection[e] = s - first_slot,  s as in image_ranges.
 * Specification E 5.4 (local searches).
 *
 * prior_base, first, count int [images]; block_start int [images + 1]; entry_class, entry_dir,
 * entry_psi int; slot_of int or null, read
 * block_image, block_row, block_n_rows, block_trans, block_n_trans int [blocks], block_out long
 * [blocks], row_projection int, write
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/range_blocks.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void range_blocks(
    __global const int* restrict prior_base, __global const int* restrict first,
    __global const int* restrict count, __global const int* restrict block_start,
    __global const int* restrict entry_class, __global const int* restrict entry_dir,
    __global const int* restrict entry_psi, __global const int* restrict slot_of,
    const int n_dir, const int n_psi, const int first_slot, const int rows_per_block,
    const int n_trans, const int n_images, __global int* restrict block_image,
    __global int* restrict block_row, __global int* restrict block_n_rows,
    __global int* restrict block_trans, __global int* restrict block_n_trans,
    __global long* restrict block_out, __global int* restrict row_projection)
{
    const int i = get_global_id(0);
    if (i >= n_images) return;
    const int base = prior_base[i] + first[i];
    for (int b = block_start[i]; b < block_start[i + 1]; b++) {
        const int row = base + (b - block_start[i]) * rows_per_block;
        const int n_rows = min(rows_per_block, base + count[i] - row);
        block_image[b] = i;
        block_row[b] = row;
        block_n_rows[b] = n_rows;
        block_trans[b] = 0;
        block_n_trans[b] = n_trans;
        block_out[b] = (long)row * n_trans;
        for (int e = row; e < row + n_rows; e++)
            row_projection[e] = (slot_of
                ? slot_of[(entry_class[e] * n_dir + entry_dir[e]) * n_psi + entry_psi[e]] : e)
                - first_slot;
    }
}
