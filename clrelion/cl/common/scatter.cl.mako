<%doc>
Trilinear scatter of slice points into a centred half-array of (re, im, weight)
(Specification E 1.11, M 1.2): the adjoint of common/interpolate.

    voxel_around(first_plane, n_planes, edge, nx, centre, point)    where a point's eight neighbours
                                                                    are, and its share in each
    add_to_voxel(&sums, &voxel, value, weight)      add a value at the point, in registers
    scatter_voxel(planes, &voxel, &sums, edge, nx)  add what has come together to the neighbours
    add_to_corners(&sums, &voxel, value, weight)    the same for values at different points of one
    scatter_corners(planes, &voxel, &sums, edge, nx)    voxel (reals only)

By atomic additions: work-items share the volume (common/slice_vector has the form for work-items
with a volume of their own). The volume begins at plane first_plane of n_planes stored ones.
Template parameters: those of common/atomics, or of common/fixed_point, and
    tiled         True: only planes that are stored are added to
    fixed_point   False: (re, im, weight, 0) as reals, which add up in any order
                  True: (re, im, weight) as whole numbers; each share of each value is rounded to the
                  next one before anything is added, so the caller scales value and weight
Reference: tests/reference/weighted_sums.py, tests/reference/backproject_orientations.py. Local
memory: none.
</%doc>
<%include file="/common/types.cl.mako"/>
% if fixed_point:
<%include file="/common/fixed_point.cl.mako"/>
typedef long volume_number;
#define VOLUME_NUMBERS 3
% else:
<%include file="/common/atomics.cl.mako"/>
typedef real volume_number;
#define VOLUME_NUMBERS 4
% endif

/* The voxel whose corners are a point's neighbours: the first of them, the point's place in it,
 * -1 where the point was mirrored to x >= 0, and whether the lower and upper plane are stored. */
typedef struct {
    long first;
    real3 f;
    real mirrored;
    int lower, upper;
} half_transform_voxel;

static inline half_transform_voxel voxel_around(
    const int first_plane, const int n_planes, const int edge, const int nx, const int centre,
    real3 point)
{
    half_transform_voxel voxel;
    voxel.mirrored = point.x < (real)0 ? (real)-1 : (real)1;
    point *= voxel.mirrored;
    const real3 corner = floor(point);
    voxel.f = point - corner;
    const int ix = (int)corner.x, iy = (int)corner.y + centre;
    const int iz = (int)corner.z + centre + first_plane;
    voxel.first = ((long)iz * edge + iy) * nx + ix;
    voxel.lower = iz >= 0 && iz < n_planes;
    voxel.upper = iz + 1 >= 0 && iz + 1 < n_planes;
    return voxel;
}

/* What has come together for a voxel: ${"the shares of its corners as whole numbers" if fixed_point else "value and weight at the point"}. */
typedef struct {
% if fixed_point:
    long share[8][3];
% else:
    real4 at_point;
% endif
} voxel_sums;

static inline voxel_sums no_voxel_sums(void)
{
    voxel_sums sums;
% if fixed_point:
    for (int c = 0; c < 8; c++)
        for (int k = 0; k < 3; k++) sums.share[c][k] = 0;
% else:
    sums.at_point = (real4)((real)0);
% endif
    return sums;
}

static inline void add_to_voxel(
    voxel_sums* sums, const half_transform_voxel* voxel, const real2 value, const real weight)
{
    const real4 v = (real4)(value.x, value.y * voxel->mirrored, weight, (real)0);
% if fixed_point:
    const real3 f = voxel->f;
% for corner in range(8):
    {
        const real4 share = v * (${"f.z" if corner & 4 else "((real)1 - f.z)"} * ${"f.y" if corner & 2 else "((real)1 - f.y)"} * ${"f.x" if corner & 1 else "((real)1 - f.x)"});
        sums->share[${corner}][0] += convert_long(rint(share.x));
        sums->share[${corner}][1] += convert_long(rint(share.y));
        sums->share[${corner}][2] += convert_long(rint(share.z));
    }
% endfor
% else:
    sums->at_point += v;
% endif
}

static inline void scatter_voxel(
    __global volume_number* restrict planes, const half_transform_voxel* voxel,
    const voxel_sums* sums, const int edge, const int nx)
{
    const long next = VOLUME_NUMBERS, row = next * nx, plane = row * edge;
    __global volume_number* p = planes + next * voxel->first;
% if not fixed_point:
    const real4 v = sums->at_point;
    const real3 f = voxel->f;
    const real4 v0 = v * ((real)1 - f.z), v1 = v * f.z;
    const real4 v00 = v0 * ((real)1 - f.y), v01 = v0 * f.y;
    const real4 v10 = v1 * ((real)1 - f.y), v11 = v1 * f.y;
% endif
% for stored, corners in (("lower", range(4)), ("upper", range(4, 8))):
% if tiled:
    if (voxel->${stored})
% endif
    {
% for corner in corners:
<% at = "p" + " + plane" * (corner >> 2) + " + row" * (corner >> 1 & 1) + " + next" * (corner & 1) %>\
% if fixed_point:
        fixed_add(${at}, sums->share[${corner}][0]);
        fixed_add(${at} + 1, sums->share[${corner}][1]);
        fixed_add(${at} + 2, sums->share[${corner}][2]);
% else:
        atomic_add_real4(${at}, v${corner >> 2}${corner >> 1 & 1} * ${"f.x" if corner & 1 else "((real)1 - f.x)"});
% endif
% endfor
    }
% endfor
}

% if not fixed_point:
/* What has come together for a voxel from different points in it: the shares of its corners. */
typedef struct {
    real4 share[8];
} corner_sums;

static inline corner_sums no_corner_sums(void)
{
    corner_sums sums;
% for corner in range(8):
    sums.share[${corner}] = (real4)((real)0);
% endfor
    return sums;
}

static inline void add_to_corners(
    corner_sums* sums, const half_transform_voxel* voxel, const real2 value, const real weight)
{
    const real4 v = (real4)(value.x, value.y * voxel->mirrored, weight, (real)0);
    const real3 f = voxel->f;
    const real4 v0 = v * ((real)1 - f.z), v1 = v * f.z;
    const real4 v00 = v0 * ((real)1 - f.y), v01 = v0 * f.y;
    const real4 v10 = v1 * ((real)1 - f.y), v11 = v1 * f.y;
% for corner in range(8):
    sums->share[${corner}] += v${corner >> 2}${corner >> 1 & 1} * ${"f.x" if corner & 1 else "((real)1 - f.x)"};
% endfor
}

static inline void scatter_corners(
    __global real* restrict planes, const half_transform_voxel* voxel, const corner_sums* sums,
    const int edge, const int nx)
{
    const long row = 4L * nx, plane = row * edge;
    __global real* p = planes + 4L * voxel->first;
% for corner in range(8):
    atomic_add_real4(p${" + plane" * (corner >> 2) + " + row" * (corner >> 1 & 1) + " + 4" * (corner & 1)}, sums->share[${corner}]);
% endfor
}
% endif
