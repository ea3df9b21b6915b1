/* project_rows_vector: central slices of the references for a list of orientations (CPUs: one
 * work-item a row, sixteen pixels at a time).
 *
 * projections[n][0|1][j] = Re|Im of V_k( pf R^T M (x_j, y_j) ),  0 for j >= n_projected
 * with k = row_class[n], R given by frame row_frame[n] and psi row_psi[n] (Specification E 1.6).
 *
 * reference    real2  [n_planes][edge][nx]: planes first_plane .. of the centred half-transforms of
 *     all classes, [classes][edge][edge][nx], one after the other, read
 * frames       real   [frames][6]   rows 0 and 1 of Y(tilt) Z(rot) P, read
 * psis         real2  [psis]        cos, sin of psi, read
 * row_class, row_frame, row_psi  int [n_rows], read
 * pixel_xy     real   [2][n_padded] pixel x, then y, in padded Fourier units; n_padded % 16 = 0
 * projections  real   [n_rows][2][n_padded], write
 * Template parameter tiled: True: points whose neighbours are not all among these planes bring 0,
 *     and all is added to what is there, so that tile after tile fills outputs of zeros.
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/project_rows.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/slice_vector.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void project_rows_vector(
    __global const real2* restrict reference, const int first_plane, const int n_planes,
    const int edge, const int nx, const int centre,
    __global const real* restrict frames, __global const real2* restrict psis,
    __global const int* restrict row_class, __global const int* restrict row_frame,
    __global const int* restrict row_psi, __global const real* restrict pixel_xy,
    const int n_projected, const int n_padded, const int n_rows,
    __global real* restrict projections)
{
    const int n = get_global_id(0);
    if (n >= n_rows) return;
    __global const real* planes = (__global const real*)reference;
    const int start = row_class[n] * edge - first_plane;
    real axes[6];
    slice_axes(frames + 6L * row_frame[n], psis[row_psi[n]], axes);
    __global real* out = projections + 2L * n * n_padded;
    for (int j = 0; j < n_padded; j += 16) {
        real16 re, im;
        slice_vector(planes, start, n_planes, edge, nx, centre, axes, vload16(0, pixel_xy + j),
                     vload16(0, pixel_xy + n_padded + j), &re, &im);
% if tiled:
        re += vload16(0, out + j);
        im += vload16(0, out + n_padded + j);
% endif
        vstore16(re, 0, out + j);
        vstore16(im, 0, out + n_padded + j);
    }
    for (int j = n_projected; j < n_padded; j++) out[j] = out[n_padded + j] = (real)0;
}
