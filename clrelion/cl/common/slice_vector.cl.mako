<%doc>
Sixteen pixels of a central slice at a time, for CPUs: coordinates by explicit vectors, then one
trilinear interpolation after the other on four-wide vectors (Specification E 1.2, 1.6). PoCL runs
this ten times faster than one work-item a pixel.

    slice_axes(frame, psi, axes)            coefficients of the pixel's x (3) and y (3)
    slice_vector(planes, first_plane, n_planes, edge, nx, centre, axes, x, y, &re, &im)     gather
    scatter_vector(planes, first_plane, n_planes, edge, nx, centre, axes, x, y, re, im, weight)
        its adjoint, by plain additions to (re, im, weight, 0): the work-item must own the planes

planes: [n_planes][edge][nx] complex values as reals, possibly more than an int counts; the volume
begins at plane first_plane of them. The caller keeps all points inside the volume.
Template parameters: real, double_precision; tiled, True: points whose neighbours are not all among
the planes are gathered as 0, and only planes that are there are added to. Reference: tests/reference/project_rows.py,
tests/reference/weighted_sums.py.
</%doc>
<%include file="/common/types.cl.mako"/>
static inline void slice_axes(__global const real* frame, const real2 psi, real* axes)
{
    for (int c = 0; c < 3; c++) {
        axes[c] = psi.x * frame[c] + psi.y * frame[c + 3];
        axes[c + 3] = psi.x * frame[c + 3] - psi.y * frame[c];
    }
}

/* First corner of the voxel around sixteen points, fractions within it, and -1 where the point was
 * mirrored to x >= 0. */
static inline void slice_corners(
    const int first_plane, const int edge, const int nx, const int centre, const real* axes,
    const real16 px, const real16 py, long16* first, real16* dx, real16* dy, real16* dz, real16* mirrored)
{
    real16 x = px * axes[0] + py * axes[3];
    real16 y = px * axes[1] + py * axes[4];
    real16 z = px * axes[2] + py * axes[5];
    *mirrored = select((real16)((real)1), (real16)((real)-1), x < (real16)((real)0));
    x *= *mirrored;
    y *= *mirrored;
    z *= *mirrored;
    const real16 fx = floor(x), fy = floor(y), fz = floor(z);
    *first = ((convert_long16(fz) + centre + first_plane) * edge + convert_long16(fy) + centre) * nx
        + convert_long16(fx);
    *dx = x - fx;
    *dy = y - fy;
    *dz = z - fz;
}

static inline void slice_vector(
    __global const real* planes, const int first_plane, const int n_planes, const int edge,
    const int nx, const int centre, const real* axes, const real16 px, const real16 py,
    real16* re, real16* im)
{
    long16 place;
    real16 fx, fy, fz, mirrored;
    slice_corners(first_plane, edge, nx, centre, axes, px, py, &place, &fx, &fy, &fz, &mirrored);
    real dx[16], dy[16], dz[16], out_re[16], out_im[16];
    long first[16];
    vstore16(fx, 0, dx);
    vstore16(fy, 0, dy);
    vstore16(fz, 0, dz);
    vstore16(place, 0, first);
    const long row = 2L * nx, plane = row * edge;
    #pragma unroll
    for (int i = 0; i < 16; i++) {
        /* four rows of two neighbours in x each: (re, im, re, im) */
% if tiled:
        if (first[i] < 0 || first[i] >= (n_planes - 1L) * edge * nx) {
            out_re[i] = out_im[i] = (real)0;
            continue;
        }
% endif
        __global const real* p = planes + 2L * first[i];
        const real4 v00 = vload4(0, p), v01 = vload4(0, p + row);
        const real4 v10 = vload4(0, p + plane), v11 = vload4(0, p + plane + row);
        const real4 v0 = v00 + dy[i] * (v01 - v00), v1 = v10 + dy[i] * (v11 - v10);
        const real4 v = v0 + dz[i] * (v1 - v0);
        const real2 value = v.lo + dx[i] * (v.hi - v.lo);
        out_re[i] = value.x;
        out_im[i] = value.y;
    }
    *re = vload16(0, out_re);
    *im = vload16(0, out_im) * mirrored;
}

static inline void scatter_vector(
    __global real* planes, const int first_plane, const int n_planes, const int edge, const int nx,
    const int centre, const real* axes, const real16 px, const real16 py, const real16 re,
    const real16 im, const real16 weight)
{
    long16 place;
    real16 fx, fy, fz, mirrored;
    slice_corners(first_plane, edge, nx, centre, axes, px, py, &place, &fx, &fy, &fz, &mirrored);
    real dx[16], dy[16], dz[16], in_re[16], in_im[16], in_weight[16];
    long first[16];
    vstore16(fx, 0, dx);
    vstore16(fy, 0, dy);
    vstore16(fz, 0, dz);
    vstore16(place, 0, first);
    vstore16(re, 0, in_re);
    vstore16(im * mirrored, 0, in_im);
    vstore16(weight, 0, in_weight);
    const long row = 4L * nx, plane = row * edge;
% if tiled:
    const long plane_voxels = (long)edge * nx, end = n_planes * plane_voxels;
% endif
    for (int i = 0; i < 16; i++) {
        __global real* p = planes + 4L * first[i];
        const real4 v = (real4)(in_re[i], in_im[i], in_weight[i], (real)0);
        const real4 v1 = v * dz[i], v0 = v - v1;
        const real4 v01 = v0 * dy[i], v00 = v0 - v01, v11 = v1 * dy[i], v10 = v1 - v11;
        const real4 a = v00 * dx[i], b = v01 * dx[i], c = v10 * dx[i], d = v11 * dx[i];
% for at, near, far, one, two in (("p", "v00 - a", "a", "v01 - b", "b"), ("p + plane", "v10 - c", "c", "v11 - d", "d")):
% if tiled:
        if (${"first[i] >= 0 && first[i] < end" if loop.first else "first[i] + plane_voxels >= 0 && first[i] + plane_voxels < end"}) {
% else:
        {
% endif
            vstore4(vload4(0, ${at}) + (${near}), 0, ${at});
            vstore4(vload4(1, ${at}) + ${far}, 1, ${at});
            vstore4(vload4(0, ${at} + row) + (${one}), 0, ${at} + row);
            vstore4(vload4(1, ${at} + row) + ${two}, 1, ${at} + row);
        }
% endfor
    }
}
