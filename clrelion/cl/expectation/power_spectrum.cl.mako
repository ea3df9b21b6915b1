/* power_spectrum: power of each image in each Fourier shell, each pixel of the half-plane once.
 *
 *   out[i][s] = sum over pixels q in [shell_start[s], shell_start[s + 1]) of
 *               |transforms[i][ shell_pixel[q] ]|^2
 * Specification E 5.2.6.
 *
 * transforms real2 [n][n_pixels] (half-transform, flat), read
 * shell_start int [n_shells + 1], shell_pixel int (flat index), read
 * out real [n][n_shells], write
 * Local memory: none. Order of sums: ascending.
 * Reference: tests/reference/power_spectrum.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void power_spectrum(
    __global const real2* restrict transforms, __global const int* restrict shell_start,
    __global const int* restrict shell_pixel, const int n_pixels, const int n_shells,
    const int n_images, __global real* restrict out)
{
    const int s = get_global_id(0);
    const int i = get_global_id(1);
    if (s >= n_shells || i >= n_images) return;
    real sum = (real)0;
    for (int q = shell_start[s]; q < shell_start[s + 1]; q++)
        sum += complex_norm2(transforms[(long)i * n_pixels + shell_pixel[q]]);
    out[(long)i * n_shells + s] = sum;
}
