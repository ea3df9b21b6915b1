/* power_spectrum: power of each image in each Fourier shell, each pixel of the half-plane once;
 * one work-group of ${wg} a shell of an image.
 *
 *   out[i][s] = sum over pixels q in [shell_start[s], shell_start[s + 1]) of
 *               |transforms[i][ shell_pixel[q] ]|^2
 * Specification E 5.2.6.
 *
 * transforms real2 [n][n_pixels] (half-transform, flat), read
 * shell_start int [n_shells + 1], shell_pixel int (flat index), read
 * out real [n][n_shells], write
 * Local memory: ${wg} reals. Order of sums: strided, then a pairwise tree.
 * Reference: tests/reference/power_spectrum.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/reduce.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${wg}, 1, 1)))
void power_spectrum(
    __global const real2* restrict transforms, __global const int* restrict shell_start,
    __global const int* restrict shell_pixel, const int n_pixels, const int n_shells,
    __global real* restrict out)
{
    __local real scratch[${wg}];
    const int s = get_group_id(0);
    const int i = get_group_id(1);
    __global const real2* image = transforms + (long)i * n_pixels;
    real sum = (real)0;
    for (int q = shell_start[s] + (int)get_local_id(0); q < shell_start[s + 1]; q += ${wg})
        sum += complex_norm2(image[shell_pixel[q]]);
    sum = group_sum(sum, scratch);
    if (get_local_id(0) == 0) out[(long)i * n_shells + s] = sum;
}
