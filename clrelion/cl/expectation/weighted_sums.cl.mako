/* weighted_sums: the sums by pixel of a batch over orientations and translations, one work-item an (image, pixel), and with scatters the back-projection: consecutive rows that fall into one voxel are added up in registers (GPUs).
 *
 * Kept rows of image i: m = place[e], or e where place is null, row_start[i] <= e < row_start[i + 1];
 * row m has class row_class[m], slice P_m = projections[row_projection[m]], total weight row_omega[m]
 * and entries [entry_start[m], entry_start[m + 1]). With s_mj = sum_t omega S_tj:
 *   pixel_power[i][j] = (q C)^2 sum_m omega_m |P_mj|^2
 *   pixel_cross[i][j] = q C Re ( X_ij sum_m conj(P_mj) s_mj )
 *   and the same two over rows whose class has scale_mask[class][shell[j]] set, as .zw
 * written as pixel_sums[i][j] = (power, cross, masked power, masked cross).
% if scatters:
 *   back-projection   value  = bp_data[i][j] U_ij s_mj,  weight = bp_weight[i][j] row_omega[m]
 *     scattered at bp_xy[j], seen from frame row_frame[m] and psi row_psi[m], into volume row_class[m]
 *     (only where bp_weight > 0)
% endif
 * Specification E 5.6, 1.11; M 1.1, 1.2.
 *
 * image_ft real2 [images][n_list]; reference_ctf real [images][n_list] (q C, or q while references
 * are not CTF-corrected), read
 * projections real [.][2][n_padded] (0 beyond the projected pixels), read
 * row_start int [images + 1], place int [rows] or null, row_class, row_projection int [rows],
 * row_omega real [rows], entry_start int [rows + 1], entry_trans int, entry_omega real, read
 * kxy int2, shell int [n_list], scale_mask uchar [classes][n_shells], read
 * ramp_x real2 [fine trans][n_kx], ramp_y real2 [fine trans][2 h + 1], read
 * With scatters: unmasked_ft real2 [images][n_list]; bp_data, bp_weight real [images][n_list]; row_frame,
 * row_psi int [rows]; bp_xy real2 [n_list]; frames real [.][6], psis real2 [.], read;
 * volumes real [classes][edge][edge][nx][4], read and written
 * pixel_sums real4 [images][n_list], write
 * Template parameter scatters: True: back-projects too. False: kernel backproject_orientations does.
 * Local memory: none. Order of sums: rows of an image in the order of its list; scatter in any order
 * (atomics).
 * Reference: tests/reference/weighted_sums.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/interpolate.cl.mako"/>
<%include file="/common/slice_sums.cl.mako"/>
% if scatters:
<%include file="/common/scatter.cl.mako"/>
% endif

__kernel void weighted_sums(
    __global const real2* restrict image_ft, __global const real* restrict reference_ctf,
    __global const real* restrict projections, __global const int* restrict row_start,
    __global const int* restrict place, __global const int* restrict row_class,
    __global const int* restrict row_projection, __global const real* restrict row_omega,
    __global const int* restrict entry_start, __global const int* restrict entry_trans,
    __global const real* restrict entry_omega, __global const int2* restrict kxy,
    __global const int* restrict shell, __global const uchar* restrict scale_mask,
    const int n_shells, __global const real2* restrict ramp_x, __global const real2* restrict ramp_y,
    const int n_kx, const int h, const int n_list, const int n_padded, const int n_images,
% if scatters:
    __global const real2* restrict unmasked_ft, __global const real* restrict bp_data,
    __global const real* restrict bp_weight, __global const int* restrict row_frame,
    __global const int* restrict row_psi, __global const real2* restrict bp_xy,
    __global const real* restrict frames, __global const real2* restrict psis, const int edge,
    const int nx, const int centre, __global real* restrict volumes,
% endif
    __global real4* restrict pixel_sums)
{
    const int j = get_global_id(0);
    const int i = get_global_id(1);
    if (j >= n_list || i >= n_images) return;
    const long p = (long)i * n_list + j;
    const int2 k = kxy[j];
% if scatters:
    const real2 unmasked = bp_data[p] * unmasked_ft[p];
    const real bp_w = bp_weight[p];
% endif
% if scatters:
    half_transform_voxel held;
    held.first = -1;
    corner_sums sums = no_corner_sums();
% endif
    real power = (real)0, masked_power = (real)0;
    real2 cross = (real2)((real)0, (real)0), masked_cross = cross;
    for (int e = row_start[i]; e < row_start[i + 1]; e++) {
        const int m = place ? place[e] : e;
        const real2 s = phase_sum(entry_trans, entry_omega, entry_start[m], entry_start[m + 1],
                                  ramp_x, ramp_y, n_kx, 2 * h + 1, k.x, k.y + h);
        __global const real* slice = projections + 2L * row_projection[m] * n_padded + j;
        const real2 projected = (real2)(slice[0], slice[n_padded]);
        const real omega = row_omega[m];
        const real row_power = omega * complex_norm2(projected);
        const real2 row_cross = complex_multiply_conjugate(s, projected);
        power += row_power;
        cross += row_cross;
        if (scale_mask[row_class[m] * n_shells + shell[j]]) {
            masked_power += row_power;
            masked_cross += row_cross;
        }
% if scatters:
        if (bp_w > (real)0) {
            const half_transform_voxel voxel = voxel_around(
                row_class[m] * edge, 0, edge, nx, centre,
                slice_point(frames + 6L * row_frame[m], psis[row_psi[m]], bp_xy[j]));
            if (voxel.first != held.first) {
                if (held.first >= 0) scatter_corners(volumes, &held, &sums, edge, nx);
                sums = no_corner_sums();
            }
            held = voxel;
            add_to_corners(&sums, &held, complex_multiply(unmasked, s), bp_w * omega);
        }
% endif
    }
% if scatters:
    if (held.first >= 0) scatter_corners(volumes, &held, &sums, edge, nx);
% endif
    const real qc = reference_ctf[p];
    const real2 x = image_ft[p];
    pixel_sums[p] = (real4)(
        qc * qc * power, qc * (x.x * cross.x - x.y * cross.y),
        qc * qc * masked_power, qc * (x.x * masked_cross.x - x.y * masked_cross.y));
}
