/* soft_mask: blend each image into its background outside the particle mask.
 *
 *   out[i][p] = (1 - outside[p]) images[i][p] + outside[p] fill
% if noise_fill:
 * with fill = noise[i][p] (a noise image of the current spectrum; without --zero_mask)
% else:
 * with fill = mean[i] (--zero_mask)
% endif
 * Specification E 5.2.5.
 *
 * images real [n][n_pixels], outside real [n_pixels], fill real [n] or [n][n_pixels], read
 * out real [n][n_pixels], write
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/soft_mask.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void soft_mask(
    __global const real* restrict images, __global const real* restrict outside,
    __global const real* restrict fill, const int n_images, const int n_pixels,
    __global real* restrict out)
{
    const int p = get_global_id(0);
    const int i = get_global_id(1);
    if (p >= n_pixels || i >= n_images) return;
    const long place = (long)i * n_pixels + p;
    const real c = outside[p];
    out[place] = ((real)1 - c) * images[place] + c * fill[${"place" if noise_fill else "i"}];
}
