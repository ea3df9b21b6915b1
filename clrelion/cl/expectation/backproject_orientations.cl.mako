/* backproject_orientations: the back-projection of a batch, one work-item an (orientation, pixel): what the images of an orientation bring is added up in registers and scattered once (GPUs).
 *
 * Group g < n_groups are the rows m in [group_start[g], group_start[g + 1]), or row g alone where
 * group_start is null; all have the class, frame and psi of the first one. Row m is of image
 * i = row_image[m], with total weight row_omega[m] and entries [entry_start[m], entry_start[m + 1]).
 * With s_mj = sum_t omega S_tj, over the rows of a group with bp_weight[i][j] > 0:
 *   value = sum_m bp_data[i][j] U_ij s_mj,  weight = sum_m bp_weight[i][j] row_omega[m]
 * scattered at bp_xy[j], seen from frame row_frame and psi row_psi, into volume row_class.
 * Specification E 5.6, 1.11; M 1.1, 1.2.
 *
 * unmasked_ft real2 [images][n_list] (U); bp_data, bp_weight real [images][n_list], read
 * group_start int [n_groups + 1] or null; row_image, row_class, row_frame, row_psi int [rows],
 * row_omega real [rows], entry_start int [rows + 1], entry_trans int, entry_omega real, read
 * kxy int2, bp_xy real2 [n_list]; ramp_x real2 [fine trans][n_kx], ramp_y real2 [fine trans]
 * [2 h + 1]; frames real [.][6], psis real2 [.], read
 * volumes real [n_planes][edge][nx][4]${" as long [n_planes][edge][nx][3]" if fixed_point else ""}: planes first_plane .. of the volumes of all
 *     classes, [classes][edge][edge][nx][4], one after the other, read and written
 * Template parameters: tiled, True: what falls on other planes is left out; fixed_point, True: sums
 * of (re, im, weight) as whole numbers, value times data_scale and weight times weight_scale, powers
 * of two; the share of each row in each voxel is rounded, and only then added up, so that the sums
 * are the same however the rows are grouped.
 * Local memory: none. Order of sums: rows of a group ascending; scatter in any order (atomics), which
 * changes nothing with fixed_point.
 * Reference: tests/reference/backproject_orientations.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/interpolate.cl.mako"/>
<%include file="/common/slice_sums.cl.mako"/>
<%include file="/common/scatter.cl.mako"/>

__kernel void backproject_orientations(
    __global const real2* restrict unmasked_ft, __global const real* restrict bp_data,
    __global const real* restrict bp_weight, __global const int* restrict group_start,
    const int n_groups, __global const int* restrict row_image,
    __global const int* restrict row_class, __global const int* restrict row_frame,
    __global const int* restrict row_psi, __global const real* restrict row_omega,
    __global const int* restrict entry_start, __global const int* restrict entry_trans,
    __global const real* restrict entry_omega, __global const int2* restrict kxy,
    __global const real2* restrict bp_xy, __global const real2* restrict ramp_x,
    __global const real2* restrict ramp_y, const int n_kx, const int h,
    __global const real* restrict frames, __global const real2* restrict psis, const int n_list,
    const int first_plane, const int n_planes, const int edge, const int nx, const int centre,
    __global volume_number* restrict volumes${", const real data_scale, const real weight_scale" if fixed_point else ""})
{
    const int j = get_global_id(0);
    const int g = get_global_id(1);
    if (j >= n_list || g >= n_groups) return;
    const int begin = group_start ? group_start[g] : g;
    const int end = group_start ? group_start[g + 1] : g + 1;
    const half_transform_voxel voxel = voxel_around(
        row_class[begin] * edge - first_plane, n_planes, edge, nx, centre,
        slice_point(frames + 6L * row_frame[begin], psis[row_psi[begin]], bp_xy[j]));
% if tiled:
    if (!voxel.lower && !voxel.upper) return;
% endif
    const int2 k = kxy[j];
    voxel_sums sums = no_voxel_sums();
    int is_empty = 1;
    for (int m = begin; m < end; m++) {
        const long p = (long)row_image[m] * n_list + j;
        const real weight = bp_weight[p];
        if (!(weight > (real)0)) continue;
        const real2 s = phase_sum(entry_trans, entry_omega, entry_start[m], entry_start[m + 1],
                                  ramp_x, ramp_y, n_kx, 2 * h + 1, k.x, k.y + h);
% if fixed_point:
        const real2 unmasked = data_scale * bp_data[p] * unmasked_ft[p];
        add_to_voxel(&sums, &voxel, complex_multiply(unmasked, s), weight_scale * weight * row_omega[m]);
% else:
        const real2 unmasked = bp_data[p] * unmasked_ft[p];
        add_to_voxel(&sums, &voxel, complex_multiply(unmasked, s), weight * row_omega[m]);
% endif
        is_empty = 0;
    }
    if (!is_empty) scatter_voxel(volumes, &voxel, &sums, edge, nx);
}
