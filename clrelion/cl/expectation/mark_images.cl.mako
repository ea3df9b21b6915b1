/* mark_images: which images have kept rows of which orientations, one bit each.
 *
 * For rows n with row_kept[n], of image i = block_image[n / rows_per_block] and orientation
 * o = (row_class[n] * n_frames + row_frame[n]) * n_psis + row_psi[n]:
 *   bit i % 32 of marks[o][i / 32] = 1
 * Other bits stay. Specification E 5.6.
 *
 * block_image int [blocks]; row_class, row_frame, row_psi, row_kept int [n_rows], read
 * marks uint [classes * n_frames * n_psis][n_words], read and written
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/mark_images.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void mark_images(
    __global const int* restrict block_image, __global const int* restrict row_class,
    __global const int* restrict row_frame, __global const int* restrict row_psi,
    __global const int* restrict row_kept, const int rows_per_block, const int n_rows,
    const int n_frames, const int n_psis, const int n_words, volatile __global uint* restrict marks)
{
    const int n = get_global_id(0);
    if (n >= n_rows || !row_kept[n]) return;
    const int o = (row_class[n] * n_frames + row_frame[n]) * n_psis + row_psi[n];
    const int i = block_image[n / rows_per_block];
    atomic_or(marks + (long)o * n_words + i / 32, 1u << (i % 32));
}
