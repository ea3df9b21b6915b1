/* shift_image: normalise images and shift them by whole pixels, zero fill.
 *
 *   out[t][y][x] = factor[t] images[source[i]][y - offset[t].y][x - offset[t].x],  0 from outside,
 *   with t = target[i]: images of a batch come from several buffers, a launch each
 * Specification E 5.2 (1-3).
 *
 * images float [.][box][box], source, target int [n], factor real [.], offset int2 [.] (x, y; px),
 * read; out real [.][box][box], write
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/shift_image.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void shift_image(
    __global const float* restrict images, __global const int* restrict source,
    __global const int* restrict target, __global const real* restrict factor,
    __global const int2* restrict offset, const int n_images, const int box,
    __global real* restrict out)
{
    const int pixel = get_global_id(0);
    const int i = get_global_id(1);
    if (pixel >= box * box || i >= n_images) return;
    const int t = target[i];
    const int x = pixel % box - offset[t].x;
    const int y = pixel / box - offset[t].y;
    const int inside = x >= 0 && x < box && y >= 0 && y < box;
    const long size = (long)box * box;
    out[t * size + pixel] =
        inside ? factor[t] * (real)images[source[i] * size + (long)y * box + x] : (real)0;
}
