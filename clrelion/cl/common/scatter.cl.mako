<%doc>
Trilinear scatter of one slice point into a centred half-array of (re, im, weight)
(Specification E 1.11, M 1.2): the adjoint of common/interpolate.

    scatter_half_transform(planes, first_plane, n_planes, edge, nx, centre, point, value, weight)

By atomic additions: work-items share the volume (common/slice_vector has the form for work-items
with a volume of their own). The volume begins at plane first_plane of n_planes stored ones.
Template parameters: those of common/atomics, or of common/fixed_point, and
    tiled         True: only planes that are stored are added to
    fixed_point   False: (re, im, weight, 0) as reals, which add up in any order
                  True: (re, im, weight) as whole numbers; each share is rounded to the next one, so
                  the caller scales value and weight
Reference: tests/reference/weighted_sums.py. Local memory: none.
</%doc>
<%include file="/common/types.cl.mako"/>
% if fixed_point:
<%include file="/common/fixed_point.cl.mako"/>
typedef long volume_number;
#define VOLUME_NUMBERS 3

static inline void scatter_share(__global volume_number* target, const real4 share)
{
    fixed_add(target, convert_long(rint(share.x)));
    fixed_add(target + 1, convert_long(rint(share.y)));
    fixed_add(target + 2, convert_long(rint(share.z)));
}
% else:
<%include file="/common/atomics.cl.mako"/>
typedef real volume_number;
#define VOLUME_NUMBERS 4
#define scatter_share atomic_add_real4
% endif

static inline void scatter_half_transform(
    __global volume_number* restrict planes, const int first_plane, const int n_planes,
    const int edge, const int nx, const int centre, real3 point, const real2 value,
    const real weight)
{
    const real mirrored = point.x < (real)0 ? (real)-1 : (real)1;
    point *= mirrored;
    const real4 v = (real4)(value.x, value.y * mirrored, weight, (real)0);
    const real3 corner = floor(point);
    const real3 f = point - corner;
    const int ix = (int)corner.x, iy = (int)corner.y + centre;
    const int iz = (int)corner.z + centre + first_plane;
    __global volume_number* p = planes + VOLUME_NUMBERS * (((long)iz * edge + iy) * nx + ix);
    const long next = VOLUME_NUMBERS, row = next * nx, plane = row * edge;
    const real4 v0 = v * ((real)1 - f.z), v1 = v * f.z;
    const real4 v00 = v0 * ((real)1 - f.y), v01 = v0 * f.y;
    const real4 v10 = v1 * ((real)1 - f.y), v11 = v1 * f.y;
% if tiled:
    if (iz >= 0 && iz < n_planes)
% endif
    {
        scatter_share(p, v00 * ((real)1 - f.x));
        scatter_share(p + next, v00 * f.x);
        scatter_share(p + row, v01 * ((real)1 - f.x));
        scatter_share(p + row + next, v01 * f.x);
    }
% if tiled:
    if (iz + 1 < 0 || iz + 1 >= n_planes) return;
% endif
    scatter_share(p + plane, v10 * ((real)1 - f.x));
    scatter_share(p + plane + next, v10 * f.x);
    scatter_share(p + plane + row, v11 * ((real)1 - f.x));
    scatter_share(p + plane + row + next, v11 * f.x);
}
