/* project_grid_vector: central slices for a run of grid orientations, packed for the matrix
 * products (CPUs: one work-item a panel, sixteen pixels at a time).
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
 * pixel_xy     real   [2][n_padded] pixel x, then y, in padded Fourier units; n_padded % 16 = 0
 * projections  real   [panels][2 n_padded][panel], write
 * powers       real   [panels][n_padded][panel], write
 * Template parameter tiled: True: points whose neighbours are not all among these planes bring 0,
 *     and all is added to what is there, so that tile after tile fills outputs of zeros.
 * Local memory: none. Order of sums: none. Specification E 1.6.
 * Reference: tests/reference/project_grid.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/slice_vector.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void project_grid_vector(
    __global const real2* restrict reference, const int first_plane, const int n_planes,
    const int edge, const int nx, const int centre,
    __global const real* restrict frames, __global const real2* restrict psis,
    const int n_dir, const int n_psi, const int first, const int n_orientations,
    __global const real* restrict pixel_xy, const int n_projected, const int n_padded,
    const int n_panels, __global real* restrict projections, __global real* restrict powers)
{
    const int panel = get_global_id(0);
    if (panel >= n_panels) return;
    __global real* out = projections + (long)panel * 2 * n_padded * ${panel};
    __global real* power = powers + (long)panel * n_padded * ${panel};
    real axes[${panel}][6];
    __global const real* planes = (__global const real*)reference;
    int start[${panel}];
    for (int c = 0; c < ${panel}; c++) {
        const int r = first + min(panel * ${panel} + c, n_orientations - 1);
        const int dir = (r / n_psi) % n_dir;
        start[c] = r / (n_psi * n_dir) * edge - first_plane;
        slice_axes(frames + 6L * dir, psis[r % n_psi], axes[c]);
    }
    const int n_columns = min(${panel}, n_orientations - panel * ${panel});
    for (int j0 = 0; j0 < n_padded; j0 += 16) {
        const real16 px = vload16(0, pixel_xy + j0), py = vload16(0, pixel_xy + n_padded + j0);
        real tile_re[${panel}][16], tile_im[${panel}][16];
        for (int c = 0; c < ${panel}; c++) {
            real16 re = (real16)((real)0), im = re;
            if (c < n_columns)
                slice_vector(planes, start[c], n_planes, edge, nx, centre, axes[c], px, py,
                             &re, &im);
            vstore16(re, 0, tile_re[c]);
            vstore16(im, 0, tile_im[c]);
        }
        for (int i = 0; i < 16; i++) {
            const int j = j0 + i;
            const real inside = j < n_projected ? (real)1 : (real)0;
            for (int c = 0; c < ${panel}; c++) {
                const real re = inside * tile_re[c][i], im = inside * tile_im[c][i];
                out[(long)j * ${panel} + c] ${"+=" if tiled else "="} re;
                out[(long)(n_padded + j) * ${panel} + c] ${"+=" if tiled else "="} im;
                power[(long)j * ${panel} + c] ${"+=" if tiled else "="} re * re + im * im;
            }
        }
    }
}
