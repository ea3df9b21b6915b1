/* direction_frames: rows 0 and 1 of Y(tilt) Z(rot) P for the children of HEALPix pixels.
 *
 * Child c of coarse direction d is frame n = d * 4^oversampling + c: the nested pixel of order
 * order + oversampling inside pixels[d], y outermost and x innermost in the coordinates of its face.
 * frames[n] = (rows 0 and 1 of Y(tilt) Z(rot)) turned by the rows of turn (P, 3 x 3).
 * Specification E 1.2, 4.1, 4.2, 4.5.
 *
 * pixels int [n_dir], turn real [9], read; frames real [n_dir * 4^oversampling][6], write
 * Local memory: none. Order of sums: as written.
 * Reference: tests/reference/direction_frames.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/healpix.cl.mako"/>

__kernel void direction_frames(
    __global const int* restrict pixels, const int order, const int oversampling, const int n_dir,
    __global const real* restrict turn, __global real* restrict frames)
{
    const int n = get_global_id(0);
    if (n >> 2 * oversampling >= n_dir) return;
    const int child = n & ((1 << 2 * oversampling) - 1);
    const int pixel = pixels[n >> 2 * oversampling];
    const int face = pixel >> 2 * order, inside = pixel & ((1 << 2 * order) - 1);
    const int x = (even_bits(inside) << oversampling) + (child & ((1 << oversampling) - 1));
    const int y = (even_bits(inside >> 1) << oversampling) + (child >> oversampling);
    const real4 centre = healpix_centre(healpix_place(order + oversampling, face, x, y));
    const real cos_tilt = centre.x, sin_tilt = centre.y, c = centre.z, s = centre.w;
    __global real* out = frames + 6L * n;
    for (int k = 0; k < 3; k++) {
        out[k] = cos_tilt * (c * turn[k] + s * turn[3 + k]) - sin_tilt * turn[6 + k];
        out[3 + k] = c * turn[3 + k] - s * turn[k];
    }
}
