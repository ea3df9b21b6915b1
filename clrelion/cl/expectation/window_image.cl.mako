/* window_image: take the listed pixels of image half-transforms, moved to the box centre.
 *
 *   out[i][j] = transforms[i][ky mod box][kx] (-1)^(kx + ky) factor[j] ramp
 * factor holds the optics group's aberration phase and MTF weight (1 if there are none). ramp is 1,
 * or with shift exp(-2 pi i (kx sx + ky sy) / box): it moves the content of image i by (sx, sy).
 * Specification E 1.5, 1.9, 1.10, 2.10, 5.2 (4, 7).
 *
 * transforms real2 [n][box][box / 2 + 1] (divided by box^2, FFTW order), read
 * kxy int2 [n_list], factor real2 [n_list], shift real2 [n] ((sx, sy) / box), read
 * out real2 [n][n_list], write
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/window_image.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void window_image(
    __global const real2* restrict transforms, __global const int2* restrict kxy,
    __global const real2* restrict factor,
% if shifted:
    __global const real2* restrict shift,
% endif
    const int n_images, const int box, const int n_list, __global real2* restrict out)
{
    const int j = get_global_id(0);
    const int i = get_global_id(1);
    if (j >= n_list || i >= n_images) return;
    const int2 k = kxy[j];
    const int row = k.y < 0 ? k.y + box : k.y;
    const real2 v = transforms[((long)i * box + row) * (box / 2 + 1) + k.x];
    const real sign = ((k.x + k.y) & 1) ? (real)-1 : (real)1;
    real2 moved = sign * complex_multiply(v, factor[j]);
% if shifted:
    const real turns = (real)2 * ((real)k.x * shift[i].x + (real)k.y * shift[i].y);
    moved = complex_multiply(moved, (real2)(cospi(turns), -sinpi(turns)));
% endif
    out[(long)i * n_list + j] = moved;
}
