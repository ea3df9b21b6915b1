/* Trilinear interpolation of a centred half-transform stored as [edge][edge][nx] complex values
 * (x >= 0; logical y, z = index - centre). Specification E 1.6: a point with x < 0 is negated and
 * the value conjugated (Hermitian symmetry). The caller keeps |point| <= centre - 1, so that all
 * eight neighbours are in the volume, which begins at plane first_plane of n_planes stored ones.
 * Template parameter tiled: True: 0 for a point not all of whose neighbours are stored.
 * Needs: common/types. Reference: tests/reference/project_rows.py.
 */
static inline real2 interpolate_half_transform(
    __global const real2* restrict planes, const int first_plane, const int n_planes,
    const int edge, const int nx, const int centre, real x, real y, real z)
{
    const real mirrored = x < (real)0 ? (real)-1 : (real)1;
    x *= mirrored;
    y *= mirrored;
    z *= mirrored;
    const real fx = floor(x), fy = floor(y), fz = floor(z);
    const real dx = x - fx, dy = y - fy, dz = z - fz;
    const int ix = (int)fx, iy = (int)fy + centre, iz = (int)fz + centre + first_plane;
% if tiled:
    if (iz < 0 || iz + 1 >= n_planes) return (real2)((real)0);
% endif
    __global const real2* p = planes + ((long)iz * edge + iy) * nx + ix;
    const long plane = (long)edge * nx;
    const real2 v00 = mix(p[0], p[1], dx);
    const real2 v01 = mix(p[nx], p[nx + 1], dx);
    const real2 v10 = mix(p[plane], p[plane + 1], dx);
    const real2 v11 = mix(p[plane + nx], p[plane + nx + 1], dx);
    real2 v = mix(mix(v00, v01, dy), mix(v10, v11, dy), dz);
    v.y *= mirrored;
    return v;
}

/* The point of the reference sampled by image pixel `pixel` (padded Fourier units) in an
 * orientation given as frame (rows 0 and 1 of Y(tilt) Z(rot) P, six numbers) and psi (cos, sin):
 * transpose of Z(psi) applied to the pixel first. Specification E 1.2, 1.6. */
static inline real3 slice_point(__global const real* restrict frame, const real2 psi, const real2 pixel)
{
    const real x = pixel.x * psi.x - pixel.y * psi.y;
    const real y = pixel.x * psi.y + pixel.y * psi.x;
    return (real3)(
        x * frame[0] + y * frame[3], x * frame[1] + y * frame[4], x * frame[2] + y * frame[5]);
}
