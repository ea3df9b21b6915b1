/* symmetrise_lattice: sums over the symmetry copies that fall on voxels.
 *
 *   target(x) = sum over operators B, with elements 0 and +-1, of source(B x)
 * for |x|^2 <= squared_radius; the rest of target is not written. Points with x < 0 are read at
 * their Friedel mates, conjugated. Specification M 1.4.
 *
 * source real4 (re, im, weight, 0), centred half array [edge][edge][nx] from element source_start,
 *     read
 * operators int [n_operators][9], row by row, the identity among them, read
 * target real4, a centred half array from element start (negative where it holds only the planes
 *     from first_plane on), write
 * Grid: (nx, edge, planes from first_plane on), rounded up in x. Local memory: none. Order of sums: operators ascending.
 * Reference: tests/reference/volume_sums.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void symmetrise_lattice(
    __global const real4* restrict source, const long source_start, const int edge, const int nx,
    const int squared_radius, __global const int* restrict operators, const int n_operators,
    const int first_plane, __global real4* restrict target, const long start)
{
    const int x = get_global_id(0), iy = get_global_id(1), iz = get_global_id(2) + first_plane;
    const int centre = edge / 2;
    const int y = iy - centre, z = iz - centre;
    source += source_start;
    if (x >= nx || x * x + y * y + z * z > squared_radius) return;
    real4 sum = (real4)((real)0);
    for (int i = 0; i < n_operators; i++) {
        __global const int* b = operators + 9 * i;
        int jx = b[0] * x + b[1] * y + b[2] * z;
        int jy = b[3] * x + b[4] * y + b[5] * z;
        int jz = b[6] * x + b[7] * y + b[8] * z;
        const int mirrored = jx < 0 ? -1 : 1;
        jx *= mirrored;
        jy *= mirrored;
        jz *= mirrored;
        real4 value = source[((long)(jz + centre) * edge + jy + centre) * nx + jx];
        value.y *= (real)mirrored;
        sum += value;
    }
    target[start + ((long)iz * edge + iy) * nx + x] = sum;
}
