/* project_rows_bricks: central slices of the references for a list of orientations, from references stored in bricks (GPUs: one work-item a pixel of several rows, which are near each other).
 *
 * projections[n][0|1][j] = Re|Im of V_k( pf R^T M (x_j, y_j) ),  0 for j >= n_projected
 * with k = row_class[n], R given by frame row_frame[n] and psi row_psi[n] (Specification E 1.6).
 *
 * bricks       real2  [classes][class_voxels] as kernel brick_layout writes them, read
 * n_x, n_y     bricks of a class along x and y
 * frames       real   [frames][6]   rows 0 and 1 of Y(tilt) Z(rot) P, read
 * psis         real2  [psis]        cos, sin of psi, read
 * row_class, row_frame, row_psi  int [n_rows], read
 * pixel_xy     real2  [n_padded]    pixel in padded Fourier units of the reference, read
 * projections  real   [n_rows][2][n_padded], write
 * Template parameters: brick, voxels of a brick along x, y, z, powers of two; rows of a work-item,
 *     which keeps the eight neighbours as long as they are those of its next row.
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/project_rows.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/interpolate.cl.mako"/>
<%include file="/common/bricks.cl.mako"/>

__kernel void project_rows_bricks(
    __global const real2* restrict bricks, const int n_x, const int n_y, const long class_voxels,
    const int centre, __global const real* restrict frames, __global const real2* restrict psis,
    __global const int* restrict row_class, __global const int* restrict row_frame,
    __global const int* restrict row_psi, __global const real2* restrict pixel_xy,
    const int n_projected, const int n_padded, const int n_rows,
    __global real* restrict projections)
{
    const int j = get_global_id(0);
    const int first = get_global_id(1) * ${rows};
    if (j >= n_padded) return;
    const real2 pixel = pixel_xy[j];
    int held_x = -1, held_y = -1, held_z = -1, held_class = -1;
    real2 corner[8];
#pragma unroll 2
    for (int r = 0; r < ${rows}; r++) {
        const int n = first + r;
        if (n < n_rows) {
            real2 value = (real2)((real)0, (real)0);
            if (j < n_projected) {
                const real3 point = slice_point(frames + 6L * row_frame[n], psis[row_psi[n]], pixel);
                const half_transform_cell cell = cell_around(centre, point.x, point.y, point.z);
                const int k = row_class[n];
                if (cell.x != held_x || cell.y != held_y || cell.z != held_z || k != held_class) {
                    __global const real2* voxels = bricks + k * class_voxels;
                    const int x0 = brick_x(cell.x), x1 = brick_x(cell.x + 1);
                    const int y0 = brick_y(cell.y, n_x), y1 = brick_y(cell.y + 1, n_x);
                    const int z0 = brick_z(cell.z, n_x, n_y), z1 = brick_z(cell.z + 1, n_x, n_y);
                    corner[0] = voxels[x0 + y0 + z0];
                    corner[1] = voxels[x1 + y0 + z0];
                    corner[2] = voxels[x0 + y1 + z0];
                    corner[3] = voxels[x1 + y1 + z0];
                    corner[4] = voxels[x0 + y0 + z1];
                    corner[5] = voxels[x1 + y0 + z1];
                    corner[6] = voxels[x0 + y1 + z1];
                    corner[7] = voxels[x1 + y1 + z1];
                    held_x = cell.x;
                    held_y = cell.y;
                    held_z = cell.z;
                    held_class = k;
                }
                value = interpolate_cell(&cell, corner);
            }
            __global real* out = projections + 2L * n * n_padded + j;
            out[0] = value.x;
            out[n_padded] = value.y;
        }
    }
}
