/* group_rows: an order of the kept rows in which those of one orientation follow each other.
 *
 * Orientations ascending, images of an orientation ascending. For rows n with row_kept[n], of image
 * i = block_image[n / rows_per_block] and orientation o, numbered as in mark_images:
 *   place[kept_before[n]] = first_place[o] + number of images before i in marks[o]
 *   group_start[group_of[o]] = first_place[o]
 * and group_start[group_of[n_orientations]] = first_place[n_orientations], the end of the last group.
 * An image has an orientation once at most. Specification E 5.6.
 *
 * block_image int [blocks]; row_class, row_frame, row_psi, row_kept int [n_rows]; kept_before int
 * [n_rows + 1] (prefix sums of row_kept); marks uint [n_orientations][n_words]; first_place,
 * group_of int [n_orientations + 1] (prefix sums of the numbers of images, and of 1 for those with
 * any), read
 * place int [kept rows], group_start int [groups + 1], write
 * Local memory: none. Order of sums: integers.
 * Reference: tests/reference/group_rows.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void group_rows(
    __global const int* restrict block_image, __global const int* restrict row_class,
    __global const int* restrict row_frame, __global const int* restrict row_psi,
    __global const int* restrict row_kept, __global const int* restrict kept_before,
    __global const uint* restrict marks, __global const int* restrict first_place,
    __global const int* restrict group_of, const int rows_per_block, const int n_rows,
    const int n_frames, const int n_psis, const int n_orientations, const int n_words,
    __global int* restrict place, __global int* restrict group_start)
{
    const int n = get_global_id(0);
    if (n == n_rows) group_start[group_of[n_orientations]] = first_place[n_orientations];
    if (n >= n_rows || !row_kept[n]) return;
    const int o = (row_class[n] * n_frames + row_frame[n]) * n_psis + row_psi[n];
    const int i = block_image[n / rows_per_block];
    __global const uint* images = marks + (long)o * n_words;
    int before = 0;
    for (int w = 0; w < i / 32; w++) before += (int)popcount(images[w]);
    before += (int)popcount(images[i / 32] & ((1u << (i % 32)) - 1u));
    place[kept_before[n]] = first_place[o] + before;
    if (before == 0) group_start[group_of[o]] = first_place[o];
}
