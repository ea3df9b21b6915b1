/* shift_image: normalise images and shift them by whole pixels, zero fill.
 *
 *   out[i][y][x] = factor[i] images[source[i]][y - offset[i].y][x - offset[i].x],  0 from outside
 * Specification E 5.2 (1-3).
 *
 * images float [.][box][box], source int [n], factor real [n], offset int2 [n] (x, y; px), read
 * out real [n][box][box], write
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/shift_image.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void shift_image(
    __global const float* restrict images, __global const int* restrict source,
    __global const real* restrict factor,
    __global const int2* restrict offset, const int n_images, const int box,
    __global real* restrict out)
{
    const int pixel = get_global_id(0);
    const int i = get_global_id(1);
    if (pixel >= box * box || i >= n_images) return;
    const int x = pixel % box - offset[i].x;
    const int y = pixel / box - offset[i].y;
    const int inside = x >= 0 && x < box && y >= 0 && y < box;
    const long size = (long)box * box;
    out[i * size + pixel] =
        inside ? factor[i] * (real)images[source[i] * size + (long)y * box + x] : (real)0;
}
