/* weighted_sums_workers: the weighted sums over orientations and translations of a batch; one
 * work-item a worker, each with pixels and a volume of its own, so that no atomics are needed
 * (CPUs: as many workers as compute units).
 *
 * Group g < n_groups are the rows m in [group_start[g], group_start[g + 1]), or row g alone where
 * group_start is null; all of one orientation: class row_class[m], frame row_frame[m], psi
 * row_psi[m], slice P = projections[row_projection[m]], which are read from its first row. Row m is
 * of image i = row_image[m], with total weight row_omega[m] and entries [entry_start[m],
 * entry_start[m + 1]). With s_mj = sum_t omega S_tj:
 *   back-projection   value  = sum_m bp_data[i][j] U_ij s_mj  and
 *     weight = sum_m bp_weight[i][j] row_omega[m]  over the rows of a group with bp_weight > 0,
 *     scattered at bp_xy[j] into volume row_class
 *   pixel_power[i][j] = (q C)^2 sum_m omega_m |P_mj|^2
 *   pixel_cross[i][j] = q C Re ( X_ij sum_m conj(P_mj) s_mj )
 *   and the same two over rows of classes with counted[class][j] = 1
 * Sixteen pixels are a block; each worker has a run of blocks. packed[i][block] is, in rows of
 * sixteen, q C X, bp_data U (Re, Im each) and bp_weight (kernel pack_images);
 * pixel_sums[i][block] = power, cross, counted power, counted cross.
 * Specification E 5.6, 1.11; M 1.1, 1.2.
 *
 * packed real [images][blocks][5][16]; reference_ctf real [images][n_list] (q C, or q while
 * references are not CTF-corrected); projections real [.][2][n_padded] (0 beyond the projected
 * pixels), read
 * group_start int [n_groups + 1] or null; row_image, row_class, row_frame, row_psi, row_projection
 * int [rows], row_omega real [rows], entry_start int [rows + 1], entry_trans int, entry_omega real,
 * read
 * bp_xy real [2][n_padded] (x, then y); counted real [classes][n_padded], 0 or 1, read
 * phases real [fine trans][2][n_padded] (Re, Im of S_tj), read
 * frames real [.][6], psis real2 [.], read
 * volumes real [workers][n_planes][edge][nx][4]: planes first_plane .. of the volumes of all
 *     classes, [classes][edge][edge][nx][4], one after the other, read and written
 * Template parameter tiled: True: what falls on other planes is left out.
 * pixel_sums real [images][blocks][4][16], write
 * Local memory: none. Order of sums: groups ascending, rows of a group ascending; a group's rows are
 * added up before they are scattered.
 * Reference: tests/reference/weighted_sums.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/slice_vector.cl.mako"/>
<% most = 2 %>
% for n in range(1, most + 1):
/* Blocks first .. first + ${n - 1} of all images; what a row needs stays in registers. */
static inline void sums_of_${n}(
    __global const real* packed, __global const real* projections,
    __global const int* group_start, const int n_groups, __global const int* row_image,
    __global const int* row_class, __global const int* row_frame, __global const int* row_psi,
    __global const int* row_projection, __global const real* row_omega,
    __global const int* entry_start, __global const int* entry_trans,
    __global const real* entry_omega, __global const real* bp_xy, __global const real* counted,
    const int n_classes, __global const real* phases, __global const real* frames,
    __global const real2* psis, const int n_padded, const int first_plane, const int n_planes,
    const int edge, const int nx, const int centre, const int first, __global real* volume,
    __global real* pixel_sums)
{
    const real16 none = (real16)((real)0);
    const int n_blocks = n_padded / 16;
    for (int g = 0; g < n_groups; g++) {
        const int begin = group_start ? group_start[g] : g;
        const int end = group_start ? group_start[g + 1] : g + 1;
        __global const real* slice = projections + 2L * row_projection[begin] * n_padded + 16 * first;
        const int class_number = row_class[begin];
% for b in range(n):
        const real16 re_${b} = vload16(${b}, slice), im_${b} = vload16(${b}, slice + n_padded);
        const real16 power_${b} = re_${b} * re_${b} + im_${b} * im_${b};
        real16 value_re_${b} = none, value_im_${b} = none, weight_${b} = none;
% endfor
        for (int m = begin; m < end; m++) {
            const long place = (long)row_image[m] * n_blocks + first;
            const real omega = row_omega[m];
            const int last = entry_start[m + 1];
% for b in range(n):
            real16 s_re_${b} = none, s_im_${b} = none;
% endfor
            for (int u = entry_start[m]; u < last; u++) {
                __global const real* phase = phases + 2L * entry_trans[u] * n_padded + 16 * first;
                const real w = entry_omega[u];
% for b in range(n):
                s_re_${b} += w * vload16(${b}, phase);
                s_im_${b} += w * vload16(${b}, phase + n_padded);
% endfor
            }
            __global const real* image = packed + 80 * place;
            __global real* sums = pixel_sums + 64 * place;
% for b in range(n):
            {
                const real16 u_re = vload16(${5 * b + 2}, image), u_im = vload16(${5 * b + 3}, image);
                value_re_${b} += u_re * s_re_${b} - u_im * s_im_${b};
                value_im_${b} += u_re * s_im_${b} + u_im * s_re_${b};
                weight_${b} += omega * vload16(${5 * b + 4}, image);
                const real16 row_power = omega * power_${b};
                const real16 row_cross =
                    vload16(${5 * b}, image) * (s_re_${b} * re_${b} + s_im_${b} * im_${b})
                    - vload16(${5 * b + 1}, image) * (s_im_${b} * re_${b} - s_re_${b} * im_${b});
                vstore16(vload16(${4 * b}, sums) + row_power, ${4 * b}, sums);
                vstore16(vload16(${4 * b + 1}, sums) + row_cross, ${4 * b + 1}, sums);
                if (n_classes > 1) {
                    const real16 counts =
                        vload16(first + ${b}, counted + (long)class_number * n_padded);
                    vstore16(vload16(${4 * b + 2}, sums) + counts * row_power, ${4 * b + 2}, sums);
                    vstore16(vload16(${4 * b + 3}, sums) + counts * row_cross, ${4 * b + 3}, sums);
                }
            }
% endfor
        }
        real axes[6];
        slice_axes(frames + 6L * row_frame[begin], psis[row_psi[begin]], axes);
% for b in range(n):
        /* no weight: pixels outside the sums' sphere or without noise estimate bring no data,
         * and their coordinates may lie outside the volume */
        if (any(weight_${b} > none)) {
            const real16 px = select(none, vload16(first + ${b}, bp_xy), weight_${b} > none);
            const real16 py =
                select(none, vload16(first + ${b}, bp_xy + n_padded), weight_${b} > none);
            scatter_vector(volume, class_number * edge - first_plane, n_planes, edge, nx, centre,
                           axes, px, py, value_re_${b}, value_im_${b}, weight_${b});
        }
% endfor
    }
}
% endfor

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void weighted_sums_workers(
    __global const real* restrict packed, __global const real* restrict reference_ctf,
    __global const real* restrict projections, __global const int* restrict group_start,
    const int n_groups, __global const int* restrict row_image,
    __global const int* restrict row_class, __global const int* restrict row_frame,
    __global const int* restrict row_psi, __global const int* restrict row_projection,
    __global const real* restrict row_omega, __global const int* restrict entry_start,
    __global const int* restrict entry_trans, __global const real* restrict entry_omega,
    __global const real* restrict bp_xy, __global const real* restrict counted,
    const int n_classes, __global const real* restrict phases,
    __global const real* restrict frames, __global const real2* restrict psis,
    const int n_list, const int n_padded, const int first_plane, const int n_planes,
    const int edge, const int nx, const int centre, const int n_images,
    __global real* restrict volumes, __global real* restrict pixel_sums)
{
    const int worker = get_global_id(0), n_workers = get_global_size(0);
    const int n_blocks = n_padded / 16;
    const int first = (int)((long)n_blocks * worker / n_workers);
    const int last = (int)((long)n_blocks * (worker + 1) / n_workers);
    for (int i = 0; i < n_images; i++)
        for (int b = 64 * first; b < 64 * last; b++)
            pixel_sums[64L * i * n_blocks + b] = (real)0;
    __global real* mine = volumes + worker * 4L * n_planes * edge * nx;
    const int n_runs = (last - first + ${most - 1}) / ${most};
    for (int run = 0; run < n_runs; run++) {
        const int begin = first + (last - first) * run / n_runs;
        const int end = first + (last - first) * (run + 1) / n_runs;
% for n in range(1, most + 1):
        if (end - begin == ${n})
            sums_of_${n}(packed, projections, group_start, n_groups, row_image, row_class, row_frame,
                      row_psi, row_projection, row_omega, entry_start, entry_trans, entry_omega,
                      bp_xy, counted, n_classes, phases, frames, psis, n_padded, first_plane,
                      n_planes, edge, nx, centre, begin, mine, pixel_sums);
% endfor
    }
    for (int i = 0; i < n_images; i++)
        for (int b = first; b < last; b++) {
            real values[16];
            for (int c = 0; c < 16; c++) {
                const int j = 16 * b + c;
                values[c] = j < n_list ? reference_ctf[(long)i * n_list + j] : (real)0;
            }
            const real16 qc = vload16(0, values);
            __global real* sums = pixel_sums + 64 * ((long)i * n_blocks + b);
            vstore16(qc * qc * vload16(0, sums), 0, sums);
            if (n_classes > 1) {
                vstore16(qc * qc * vload16(2, sums), 2, sums);
            } else {
                vstore16(vload16(b, counted) * vload16(0, sums), 2, sums);
                vstore16(vload16(b, counted) * vload16(1, sums), 3, sums);
            }
        }
}
