/* shell_sums: pixel sums of each image added up over Fourier shells.
 *
 *   out[c][i][s] = sum over pixels q in [shell_start[s], shell_start[s + 1]) of
 *                  the sum c of pixel shell_pixel[q] of image i
 * Specification E 5.6 (noise, scale sums).
 *
% if blocks:
 * pixel_sums real [images][n_blocks][4][16] (kernel weighted_sums_workers), read
% else:
 * pixel_sums real4 [images][n_list] (kernel weighted_sums), read
% endif
 * shell_start int [n_shells + 1], shell_pixel int, read
 * out real [4][images][n_shells], write
 * Template parameter blocks: how the sums lie in memory.
 * Local memory: none. Order of sums: ascending.
 * Reference: tests/reference/shell_sums.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void shell_sums(
    __global const ${"real" if blocks else "real4"}* restrict pixel_sums,
    __global const int* restrict shell_start, __global const int* restrict shell_pixel,
    const int ${"n_blocks" if blocks else "n_list"}, const int n_shells, const int n_images,
    __global real* restrict out)
{
    const int s = get_global_id(0);
    const int i = get_global_id(1);
    if (s >= n_shells || i >= n_images) return;
    real4 sum = (real4)((real)0);
    for (int q = shell_start[s]; q < shell_start[s + 1]; q++) {
        const int j = shell_pixel[q];
% if blocks:
        __global const real* block = pixel_sums + 64 * ((long)i * n_blocks + j / 16) + j % 16;
        sum += (real4)(block[0], block[16], block[32], block[48]);
% else:
        sum += pixel_sums[(long)i * n_list + j];
% endif
    }
    const long plane = (long)n_images * n_shells;
    __global real* place = out + (long)i * n_shells + s;
    place[0] = sum.x;
    place[plane] = sum.y;
    place[2 * plane] = sum.z;
    place[3 * plane] = sum.w;
}
