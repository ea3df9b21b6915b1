/* Trilinear interpolation of a centred half-transform stored as [edge][edge][nx] complex values
 * (x >= 0; logical y, z = index - centre). Specification E 1.6: a point with x < 0 is negated and
 * the value conjugated (Hermitian symmetry). The caller keeps |point| <= centre - 1, so that all
 * eight neighbours are in the volume, which begins at plane first_plane of n_planes stored ones.
 *
 *     cell_around(centre, x, y, z)       the cube of voxels around a point
 *     interpolate_cell(&cell, corner)    the value, from those of its corners, x fastest
 *     interpolate_half_transform(...)    both, and the loads between them
 *
 * Template parameter tiled: True: 0 for a point not all of whose neighbours are stored.
 * Needs: common/types. Reference: tests/reference/project_rows.py.
 */

/* Indices of the first corner, the point's place behind it, -1 where the point was mirrored. */
typedef struct {
    int x, y, z;
    real dx, dy, dz, mirrored;
} half_transform_cell;

static inline half_transform_cell cell_around(const int centre, real x, real y, real z)
{
    half_transform_cell cell;
    cell.mirrored = x < (real)0 ? (real)-1 : (real)1;
    x *= cell.mirrored;
    y *= cell.mirrored;
    z *= cell.mirrored;
    const real fx = floor(x), fy = floor(y), fz = floor(z);
    cell.dx = x - fx;
    cell.dy = y - fy;
    cell.dz = z - fz;
    cell.x = (int)fx;
    cell.y = (int)fy + centre;
    cell.z = (int)fz + centre;
    return cell;
}

static inline real2 interpolate_cell(const half_transform_cell* cell, const real2* corner)
{
    const real2 v00 = mix(corner[0], corner[1], cell->dx);
    const real2 v01 = mix(corner[2], corner[3], cell->dx);
    const real2 v10 = mix(corner[4], corner[5], cell->dx);
    const real2 v11 = mix(corner[6], corner[7], cell->dx);
    real2 v = mix(mix(v00, v01, cell->dy), mix(v10, v11, cell->dy), cell->dz);
    v.y *= cell->mirrored;
    return v;
}

static inline real2 interpolate_half_transform(
    __global const real2* restrict planes, const int first_plane, const int n_planes,
    const int edge, const int nx, const int centre, const real x, const real y, const real z)
{
    const half_transform_cell cell = cell_around(centre, x, y, z);
    const int iz = cell.z + first_plane;
% if tiled:
    if (iz < 0 || iz + 1 >= n_planes) return (real2)((real)0);
% endif
    __global const real2* p = planes + ((long)iz * edge + cell.y) * nx + cell.x;
    const long plane = (long)edge * nx;
    const real2 corner[8] = {p[0],     p[1],         p[nx],         p[nx + 1],
                             p[plane], p[plane + 1], p[plane + nx], p[plane + nx + 1]};
    return interpolate_cell(&cell, corner);
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
