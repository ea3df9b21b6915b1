/* compact_rows: the rows with any weight, and their significant translations, as contiguous lists.
 *
 * Row n of the blocks is kept if row_kept[n]; kept row n is number k = kept_before[n] of them and at
 * place m = place[k] of the lists, or m = k where place is null:
 *   kept_image[m] = block_image[n / rows_per_block]
 *   kept_class[m], kept_frame[m], kept_psi[m], kept_projection[m], kept_omega[m]: those of row n
 *   from entry_start[m] on, for each of its samples with weight:
 *     entry_trans = fine translation (coarse * n_children + child),  entry_omega = its weight
 * The kept rows of image i are numbered from row_start[i] = kept_before[block_start[i] *
 * rows_per_block] on, i <= n_images. Specification E 5.6; the paper's aux vector.
 *
 * samples real, block_out long, block_image, block_trans, block_n_trans int [blocks], trans_list int,
 * block_start int [n_images + 1]; row_class, row_frame, row_psi, row_projection, row_kept int,
 * row_sum real [n_rows]; kept_before int [n_rows + 1] (prefix sums of row_kept), place int [kept rows]
 * or null, entry_start int [kept rows + 1], read
 * row_start int [n_images + 1]; kept_image, kept_class, kept_frame, kept_psi, kept_projection int,
 * kept_omega real [kept rows], entry_trans int, entry_omega real, write
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/compact_rows.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void compact_rows(
    __global const real* restrict samples, __global const long* restrict block_out,
    __global const int* restrict block_image, __global const int* restrict block_trans,
    __global const int* restrict block_n_trans, __global const int* restrict trans_list,
    __global const int* restrict block_start, __global const int* restrict row_class,
    __global const int* restrict row_frame, __global const int* restrict row_psi,
    __global const int* restrict row_projection, __global const int* restrict row_kept,
    __global const real* restrict row_sum, __global const int* restrict kept_before,
    __global const int* restrict place, __global const int* restrict entry_start,
    const int n_children, const int rows_per_block, const int n_rows, const int n_images,
    __global int* restrict row_start, __global int* restrict kept_image,
    __global int* restrict kept_class, __global int* restrict kept_frame,
    __global int* restrict kept_psi, __global int* restrict kept_projection,
    __global real* restrict kept_omega, __global int* restrict entry_trans,
    __global real* restrict entry_omega)
{
    const int n = get_global_id(0);
    if (n <= n_images) row_start[n] = kept_before[block_start[n] * rows_per_block];
    if (n >= n_rows || !row_kept[n]) return;
    const int m = place ? place[kept_before[n]] : kept_before[n];
    const int b = n / rows_per_block;
    kept_image[m] = block_image[b];
    kept_class[m] = row_class[n];
    kept_frame[m] = row_frame[n];
    kept_psi[m] = row_psi[n];
    kept_projection[m] = row_projection[n];
    kept_omega[m] = row_sum[n];
    int entry = entry_start[m];
    const int per_row = block_n_trans[b] * n_children;
    __global const real* w = samples + block_out[b] + (long)(n % rows_per_block) * per_row;
    for (int s = 0; s < per_row; s++)
        if (w[s] > (real)0) {
            entry_trans[entry] =
                trans_list[block_trans[b] + s / n_children] * n_children + s % n_children;
            entry_omega[entry++] = w[s];
        }
}
