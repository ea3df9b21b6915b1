/* shift_image: normalise images and shift them by whole pixels, zero fill.
 *
 *   out[t][y][x] = factor[t] images[s][y - dy][x - dx],  0 from outside,
 *   with (s, t, dx, dy) = place[first + i]: images of a batch come from several buffers, a launch
 *   each
 * Specification E 5.2 (1-3).
 *
 * images float [.][box][box], place int4 [first + n] (image of the buffer, image of the batch,
 * offset x, y in px), factor real [.], read; out real [.][box][box], write
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/shift_image.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void shift_image(
    __global const float* restrict images, __global const int4* restrict place,
    __global const real* restrict factor, const int first, const int n_images, const int box,
    __global real* restrict out)
{
    const int pixel = get_global_id(0);
    const int i = get_global_id(1);
    if (pixel >= box * box || i >= n_images) return;
    const int4 from = place[first + i];
    const int x = pixel % box - from.z;
    const int y = pixel / box - from.w;
    const int inside = x >= 0 && x < box && y >= 0 && y < box;
    const long size = (long)box * box;
    out[from.y * size + pixel] =
        inside ? factor[from.y] * (real)images[from.x * size + (long)y * box + x] : (real)0;
}
