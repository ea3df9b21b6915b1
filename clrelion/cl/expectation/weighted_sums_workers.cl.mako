/* weighted_sums_workers: the weighted sums over orientations and translations of a batch; one
 * work-item a worker, sixteen pixels at a time, with a volume of its
 * own, so that no atomics are needed (CPUs: as many workers as compute units).
 *
 * Kept rows of image i: [row_start[i], row_start[i + 1]); row m has class row_class[m], frame
 * row_frame[m], psi row_psi[m], slice P_m = projections[row_projection[m]], total weight
 * row_omega[m] and entries [entry_start[m], entry_start[m + 1]). With s_mj = sum_t omega S_tj:
 *   back-projection   value  = bp_data[i][j] U_ij s_mj,  weight = bp_weight[i][j] row_omega[m]
 *     scattered at bp_xy[j] into volume row_class[m] (only where bp_weight > 0)
 *   pixel_power[i][j] = (q C)^2 sum_m omega_m |P_mj|^2
 *   pixel_cross[i][j] = q C Re ( X_ij sum_m conj(P_mj) s_mj )
 *   and the same two over rows whose class has scale_mask[class][shell[j]] set, as .zw
 * written as pixel_sums[i][j] = (power, cross, masked power, masked cross).
 * Worker w does the images [first_image[w], first_image[w + 1]).
 * Specification E 5.6, 1.11; M 1.1, 1.2.
 *
 * image_ft, unmasked_ft real2 [images][n_list]; reference_ctf real [images][n_list] (q C, or q
 * while references are not CTF-corrected); bp_data, bp_weight real [images][n_list], read
 * projections real [.][2][n_padded] (0 beyond the projected pixels), read
 * row_class, row_frame, row_psi, row_projection int [rows], row_omega real [rows], read
 * entry_start int [rows + 1], entry_trans int, entry_omega real, read
 * shell int [n_padded], bp_xy real [2][n_padded] (x, then y), read
 * scale_mask uchar [classes][n_shells], read
 * phases real [fine trans][2][n_padded] (Re, Im of S_tj), read
 * frames real [.][6], psis real2 [.], read
 * volumes real [workers][n_planes][edge][nx][4]: planes first_plane .. of the volumes of all
 *     classes, [classes][edge][edge][nx][4], one after the other, read and written
 * Template parameter tiled: True: what falls on other planes is left out.
 * pixel_sums real4 [images][n_list], write
 * Local memory: none. Order of sums: rows ascending; scatter images ascending in each worker.
 * Reference: tests/reference/weighted_sums.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/slice_vector.cl.mako"/>

/* Sixteen values of a row of n, zeros behind its end. */
static inline real16 load_row(__global const real* row, const int j, const int n)
{
    if (j + 16 <= n) return vload16(0, row + j);
    real values[16];
    for (int i = 0; i < 16; i++) values[i] = j + i < n ? row[j + i] : (real)0;
    return vload16(0, values);
}

static inline void load_complex_row(
    __global const real2* row, const int j, const int n, real16* re, real16* im)
{
    real values_re[16], values_im[16];
    for (int i = 0; i < 16; i++) {
        const real2 v = row[min(j + i, n - 1)];
        values_re[i] = v.x;
        values_im[i] = v.y;
    }
    *re = vload16(0, values_re);
    *im = vload16(0, values_im);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void weighted_sums_workers(
    __global const real2* restrict image_ft, __global const real2* restrict unmasked_ft,
    __global const real* restrict reference_ctf, __global const real* restrict bp_data,
    __global const real* restrict bp_weight, __global const real* restrict projections,
    __global const int* restrict row_start, __global const int* restrict row_class,
    __global const int* restrict row_frame, __global const int* restrict row_psi,
    __global const int* restrict row_projection, __global const real* restrict row_omega,
    __global const int* restrict entry_start, __global const int* restrict entry_trans,
    __global const real* restrict entry_omega, __global const int* restrict shell,
    __global const real* restrict bp_xy, __global const uchar* restrict scale_mask,
    const int n_shells, __global const real* restrict phases,
    __global const real* restrict frames, __global const real2* restrict psis,
    const int n_list, const int n_padded, const int first_plane, const int n_planes,
    const int edge, const int nx, const int centre, __global const int* restrict first_image,
    __global real* restrict volumes, __global real* restrict pixel_sums)
{
    const int worker = get_global_id(0);
    __global real* mine = volumes + worker * 4L * n_planes * edge * nx;
    for (int i = first_image[worker]; i < first_image[worker + 1]; i++)
        for (int j = 0; j < n_list; j += 16) {
            const long p = (long)i * n_list;
            real16 x_re, x_im, u_re, u_im;
            load_complex_row(image_ft + p, j, n_list, &x_re, &x_im);
            load_complex_row(unmasked_ft + p, j, n_list, &u_re, &u_im);
            const real16 data = load_row(bp_data + p, j, n_list);
            const real16 weight = load_row(bp_weight + p, j, n_list);
            const real16 qc = load_row(reference_ctf + p, j, n_list);
            /* no weight: pixels outside the sums' sphere or without noise estimate bring no data,
             * and their coordinates may lie outside the volume */
            const real16 none = (real16)((real)0);
            const int scatters = any(weight > none);
            const real16 used = select(none, data, weight > none);
            const real16 px = select(none, vload16(0, bp_xy + j), weight > none);
            const real16 py = select(none, vload16(0, bp_xy + n_padded + j), weight > none);
            u_re *= used;
            u_im *= used;
            real16 power = (real16)((real)0), masked_power = power;
            real16 cross_re = power, cross_im = power, masked_re = power, masked_im = power;
            for (int m = row_start[i]; m < row_start[i + 1]; m++) {
                real16 s_re = (real16)((real)0), s_im = s_re;
                for (int u = entry_start[m]; u < entry_start[m + 1]; u++) {
                    __global const real* phase = phases + 2L * entry_trans[u] * n_padded + j;
                    s_re += entry_omega[u] * vload16(0, phase);
                    s_im += entry_omega[u] * vload16(0, phase + n_padded);
                }
                __global const real* slice = projections + 2L * row_projection[m] * n_padded + j;
                const real16 re = vload16(0, slice), im = vload16(0, slice + n_padded);
                const real omega = row_omega[m];
                const real16 row_power = omega * (re * re + im * im);
                const real16 row_re = s_re * re + s_im * im, row_im = s_im * re - s_re * im;
                power += row_power;
                cross_re += row_re;
                cross_im += row_im;
                real inside[16];
                __global const uchar* mask = scale_mask + row_class[m] * n_shells;
                for (int c = 0; c < 16; c++) inside[c] = mask[shell[j + c]] ? (real)1 : (real)0;
                const real16 masked = vload16(0, inside);
                masked_power += masked * row_power;
                masked_re += masked * row_re;
                masked_im += masked * row_im;
                if (scatters) {
                    real axes[6];
                    slice_axes(frames + 6L * row_frame[m], psis[row_psi[m]], axes);
                    scatter_vector(mine, row_class[m] * edge - first_plane, n_planes, edge, nx,
                                   centre, axes, px, py, u_re * s_re - u_im * s_im, u_re * s_im + u_im * s_re,
                                   omega * weight);
                }
            }
            real sums[4][16];
            vstore16(qc * qc * power, 0, sums[0]);
            vstore16(qc * (x_re * cross_re - x_im * cross_im), 0, sums[1]);
            vstore16(qc * qc * masked_power, 0, sums[2]);
            vstore16(qc * (x_re * masked_re - x_im * masked_im), 0, sums[3]);
            for (int c = 0; c < 16 && j + c < n_list; c++)
                for (int k = 0; k < 4; k++) pixel_sums[4 * (p + j + c) + k] = sums[k][c];
        }
}
