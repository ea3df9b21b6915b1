/* project_grid: central slices for a run of grid orientations, packed for the matrix products.
 *
 * Grid orientation r = (class * n_dir + direction) * n_psi + psi, r = first + i, i < n_orientations.
 * Panels of ${panel} orientations:
 *   projections[i / panel][c * n_padded + j][i % panel] = Re (c = 0) | Im (c = 1) of the slice
 *   powers     [i / panel][j][i % panel]                = |slice|^2
 * Zero for i >= n_orientations (padding of the last panel) and for j >= n_projected.
 *
 * reference    real2  [n_planes][edge][nx]: planes first_plane .. of the centred half-transforms of
 *     all classes, [classes][edge][edge][nx], one after the other, read
 * frames       real   [n_dir][6], read      psis  real2 [n_psi], read
 * pixel_xy     real2  [n_padded], read
 * projections  real   [panels][2 n_padded][panel], write
 * powers       real   [panels][n_padded][panel], write
 * Template parameter tiled: True: points whose neighbours are not all among these planes bring 0,
 *     and all is added to what is there, so that tile after tile fills outputs of zeros.
 * Local memory: none. Order of sums: none. Specification E 1.6.
 * Reference: tests/reference/project_grid.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/interpolate.cl.mako"/>

__kernel void project_grid(
    __global const real2* restrict reference, const int first_plane, const int n_planes,
    const int edge, const int nx, const int centre,
    __global const real* restrict frames, __global const real2* restrict psis,
    const int n_dir, const int n_psi, const int first, const int n_orientations,
    __global const real2* restrict pixel_xy, const int n_projected, const int n_padded,
    const int n_columns, __global real* restrict projections, __global real* restrict powers)
{
    const int i = get_global_id(0);
    const int j = get_global_id(1);
    if (i >= n_columns || j >= n_padded) return;
    real2 value = (real2)((real)0, (real)0);
    if (i < n_orientations && j < n_projected) {
        const int r = first + i;
        const int psi = r % n_psi;
        const int dir = (r / n_psi) % n_dir;
        const int cls = r / (n_psi * n_dir);
        const real3 point = slice_point(frames + 6L * dir, psis[psi], pixel_xy[j]);
        value = interpolate_half_transform(
            reference, cls * edge - first_plane, n_planes, edge, nx, centre,
            point.x, point.y, point.z);
    }
    const long panel = i / ${panel};
    const int column = i % ${panel};
    projections[(panel * 2 * n_padded + j) * ${panel} + column] ${"+=" if tiled else "="} value.x;
    projections[(panel * 2 * n_padded + n_padded + j) * ${panel} + column] ${"+=" if tiled else "="} value.y;
    powers[(panel * n_padded + j) * ${panel} + column] ${"+=" if tiled else "="}
        value.x * value.x + value.y * value.y;
}
