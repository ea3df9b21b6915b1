/* symmetrise_volume: sums over the symmetry copies that fall between voxels.
 *
 *   target(x) = source(x) + sum over operators A of the trilinear interpolation of source at A x
 * for |x|^2 <= squared_radius; the rest of target is not written. Points with x < 0 are read at
 * their Friedel mates, conjugated. Specification M 1.4.
 *
 * source real4 (re, im, weight, 0), centred half array [edge][edge][nx] from element start, read
 * operators real [n_operators][18]: elements rounded to multiples of 2^-11, row by row, then the
 *     rest. With whole coordinates below 2^11 the first part of each product is exact, so that
 *     single precision places a point to 1e-7 of a voxel anywhere in the volume.
 * target real4, a centred half array from element target_start (negative where it holds only the
 *     planes from first_plane on), write
 * Grid: (nx, edge, planes from first_plane on), rounded up in x. Local memory: none. Order of sums: operators ascending.
 * Reference: tests/reference/volume_sums.py
 */
<%include file="/common/types.cl.mako"/>

/* whole and fractional part of one coordinate, given as two summands */
static inline int split(const real high, const real low, real* fraction)
{
    const real whole = floor(high);
    const real rest = (high - whole) + low;
    const real more = floor(rest);
    *fraction = rest - more;
    return (int)whole + (int)more;
}

__kernel void symmetrise_volume(
    __global const real4* restrict source, const long start, const int edge, const int nx,
    const int squared_radius, __global const real* restrict operators, const int n_operators,
    const int first_plane, __global real4* restrict target, const long target_start)
{
    const int ix = get_global_id(0), iy = get_global_id(1), iz = get_global_id(2) + first_plane;
    const int centre = edge / 2;
    const int y = iy - centre, z = iz - centre;
    if (ix >= nx || ix * ix + y * y + z * z > squared_radius) return;
    source += start;
    const long place = ((long)iz * edge + iy) * nx + ix;
    const long row = nx, plane = (long)edge * nx;
    const real3 v = (real3)((real)ix, (real)y, (real)z);
    real4 sum = source[place];
    for (int i = 0; i < n_operators; i++) {
        __global const real* h = operators + 18 * i;
        __global const real* l = h + 9;
        real3 high = (real3)(h[0] * v.x + h[1] * v.y + h[2] * v.z,
                             h[3] * v.x + h[4] * v.y + h[5] * v.z,
                             h[6] * v.x + h[7] * v.y + h[8] * v.z);
        real3 low = (real3)(l[0] * v.x + l[1] * v.y + l[2] * v.z,
                            l[3] * v.x + l[4] * v.y + l[5] * v.z,
                            l[6] * v.x + l[7] * v.y + l[8] * v.z);
        const real mirrored = high.x + low.x < (real)0 ? (real)-1 : (real)1;
        high *= mirrored;
        low *= mirrored;
        real fx, fy, fz;
        const int jx = split(high.x, low.x, &fx);
        const int jy = split(high.y, low.y, &fy);
        const int jz = split(high.z, low.z, &fz);
        __global const real4* p
            = source + ((long)(jz + centre) * edge + jy + centre) * nx + jx;
        const real4 v00 = mix(p[0], p[1], fx), v01 = mix(p[row], p[row + 1], fx);
        const real4 v10 = mix(p[plane], p[plane + 1], fx);
        const real4 v11 = mix(p[plane + row], p[plane + row + 1], fx);
        real4 value = mix(mix(v00, v01, fy), mix(v10, v11, fy), fz);
        value.y *= mirrored;
        sum += value;
    }
    target[target_start + place] = sum;
}
