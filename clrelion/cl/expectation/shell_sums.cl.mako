/* shell_sums: pixel sums of each image added up over Fourier shells.
 *
 *   out[i][s] = sum over pixels q in [shell_start[s], shell_start[s + 1]) of
 *               pixel_sums[i][ shell_pixel[q] ]                       (four values at once)
 * Specification E 5.6 (noise, scale sums).
 *
 * pixel_sums real4 [images][n_list], shell_start int [n_shells + 1], shell_pixel int, read
 * out real4 [images][n_shells], write
 * Local memory: none. Order of sums: ascending.
 * Reference: tests/reference/shell_sums.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void shell_sums(
    __global const real4* restrict pixel_sums, __global const int* restrict shell_start,
    __global const int* restrict shell_pixel, const int n_list, const int n_shells,
    const int n_images, __global real4* restrict out)
{
    const int s = get_global_id(0);
    const int i = get_global_id(1);
    if (s >= n_shells || i >= n_images) return;
    real4 sum = (real4)((real)0);
    for (int q = shell_start[s]; q < shell_start[s + 1]; q++)
        sum += pixel_sums[(long)i * n_list + shell_pixel[q]];
    out[(long)i * n_shells + s] = sum;
}
