/* project_rows: central slices of the references for a list of orientations.
 *
 * projections[n][0|1][j] = Re|Im of V_k( pf R^T M (x_j, y_j) ),  0 for j >= n_projected
 * with k = row_class[n], R given by frame row_frame[n] and psi row_psi[n] (Specification E 1.6).
 *
 * reference    real2  [n_planes][edge][nx]: planes first_plane .. of the centred half-transforms of
 *     all classes, [classes][edge][edge][nx], one after the other, read
 * frames       real   [frames][6]   rows 0 and 1 of Y(tilt) Z(rot) P, read
 * psis         real2  [psis]        cos, sin of psi, read
 * row_class, row_frame, row_psi  int [n_rows], read
 * pixel_xy     real2  [n_padded]    pixel in padded Fourier units of the reference, read
 * projections  real   [n_rows][2][n_padded], write
 * Template parameter tiled: True: points whose neighbours are not all among these planes bring 0,
 *     and all is added to what is there, so that tile after tile fills outputs of zeros.
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/project_rows.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/interpolate.cl.mako"/>

__kernel void project_rows(
    __global const real2* restrict reference, const int first_plane, const int n_planes,
    const int edge, const int nx, const int centre,
    __global const real* restrict frames, __global const real2* restrict psis,
    __global const int* restrict row_class, __global const int* restrict row_frame,
    __global const int* restrict row_psi, __global const real2* restrict pixel_xy,
    const int n_projected, const int n_padded, const int n_rows,
    __global real* restrict projections)
{
    const int j = get_global_id(0);
    const int n = get_global_id(1);
    if (j >= n_padded || n >= n_rows) return;
    real2 value = (real2)((real)0, (real)0);
    if (j < n_projected) {
        const real3 point = slice_point(frames + 6L * row_frame[n], psis[row_psi[n]], pixel_xy[j]);
        value = interpolate_half_transform(
            reference, row_class[n] * edge - first_plane, n_planes, edge, nx, centre,
            point.x, point.y, point.z);
    }
    __global real* out = projections + 2L * n * n_padded + j;
    out[0] ${"+=" if tiled else "="} value.x;
    out[n_padded] ${"+=" if tiled else "="} value.y;
}
