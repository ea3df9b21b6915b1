/* diff2_fine: squared differences of a list of small dense blocks; one work-group of ${wg} a block,
 * its work-items share the pixels (GPUs).
 *
 * Block b pairs image i = block_image[b] with block_n_rows[b] rows (orientations) n from
 * block_row[b] on, whose slices are P = projections[row_projection[n]], and with the translations
 * { trans_list[block_trans[b] + u] * n_children + c : u < block_n_trans[b], c < n_children }:
 *   diff2 = sum_j ctf_power[i][j] |P_j|^2 + sum_j shifted[i][t][.][j] . P[.][j]
% if cross_correlation:
 *   and out = (second sum) / sqrt(first sum) * inverse_image_norm[i]   (cross-correlation)
% endif
 * out[block_out[b] + row * n + u * n_children + c],  n = block_n_trans[b] * n_children.
 * Specification E 5.4; design.md 3 (fine pass).
 *
 * shifted      real [images][n_trans_all][2][n_padded], read (n_trans_all counts children)
% if makes_shifts:
 *   here [images][2][n_padded], images that are not shifted: times S_tj = ramp_x[t][kx] ramp_y[t][ky]
 * kxy          int2 [n_padded] (kx, ky), read
 * ramp_x       real2 [n_trans_all][n_kx], ramp_y real2 [n_trans_all][2 h + 1] (ky + h), read
% endif
 * ctf_power    real [images][n_padded], read
 * projections  real [.][2][n_padded], read
 * block_image, block_row, block_n_rows, block_trans, block_n_trans int [blocks], block_out long
 * [blocks]; row_projection int [rows], trans_list int, read
 * inverse_image_norm real [images], read (null unless cross-correlation)
 * out          real, write
 * Template parameters: rows and trans, what a work-item adds up at a time; makes_shifts: multiply the
 * images with the phases of the translations here, rather than read them from memory shifted.
 * Local memory: rows * (trans + 1) * ${wg} reals. Order of sums: strided partial sums a work-item, then at most 4
 * strided runs over the work-items.
 * Reference: tests/reference/diff2_fine.py
 */
<%include file="/common/types.cl.mako"/>
<% R = rows; T = trans; runs = min(4, wg) %>
#define WG ${wg}

__kernel __attribute__((reqd_work_group_size(WG, 1, 1)))
void diff2_fine(
    __global const real* restrict shifted, __global const real* restrict ctf_power,
    __global const real* restrict projections,
    __global const int* restrict block_image, __global const int* restrict block_row,
    __global const int* restrict block_n_rows, __global const int* restrict row_projection,
    __global const int* restrict block_trans,
    __global const int* restrict block_n_trans, __global const long* restrict block_out,
    __global const int* restrict trans_list, __global const real* restrict inverse_image_norm,
% if makes_shifts:
    __global const int2* restrict kxy, __global const real2* restrict ramp_x,
    __global const real2* restrict ramp_y, const int n_kx, const int h,
% endif
    const int n_blocks, const int n_trans_all, const int n_children, const int n_padded,
    __global real* restrict out)
{
    __local real partial[${R * T + R}][WG];
    const int b = get_group_id(0);
    const int lid = get_local_id(0);
    const int image = block_image[b];
    const int n_rows = block_n_rows[b];
    __global const int* of_row = row_projection + block_row[b];
    const int n_trans = block_n_trans[b] * n_children;
    __global const int* trans = trans_list + block_trans[b];
% if makes_shifts:
    __global const real* x = shifted + (long)image * 2 * n_padded;
% else:
    __global const real* x = shifted + (long)image * n_trans_all * 2 * n_padded;
% endif
    __global const real* power = ctf_power + (long)image * n_padded;
    __global real* result = out + block_out[b];

    for (int r0 = 0; r0 < n_rows; r0 += ${R}) {
        __global const real* p[${R}];
        #pragma unroll
        for (int a = 0; a < ${R}; a++)
            p[a] = projections + 2L * of_row[min(r0 + a, n_rows - 1)] * n_padded;
        for (int t0 = 0; t0 < n_trans; t0 += ${T}) {
% if makes_shifts:
            int along_x[${T}], along_y[${T}];
% else:
            __global const real* f[${T}];
% endif
            real sum[${R}][${T}];
            real norm[${R}];
            #pragma unroll
            for (int c = 0; c < ${T}; c++) {
                const int of_block = min(t0 + c, n_trans - 1);
                const int t = trans[of_block / n_children] * n_children + of_block % n_children;
% if makes_shifts:
                along_x[c] = t * n_kx;
                along_y[c] = t * (2 * h + 1) + h;
% else:
                f[c] = x + (long)t * 2 * n_padded;
% endif
            }
            #pragma unroll
            for (int a = 0; a < ${R}; a++) {
                norm[a] = (real)0;
                #pragma unroll
                for (int c = 0; c < ${T}; c++) sum[a][c] = (real)0;
            }
            for (int j = lid; j < n_padded; j += WG) {
                real re[${R}], im[${R}];
                const real pw = power[j];
                #pragma unroll
                for (int a = 0; a < ${R}; a++) {
                    re[a] = p[a][j];
                    im[a] = p[a][n_padded + j];
                    norm[a] = fma(pw, fma(re[a], re[a], im[a] * im[a]), norm[a]);
                }
% if makes_shifts:
                const real xr = x[j], xi = x[n_padded + j];
                const int2 k = kxy[j];
% endif
                #pragma unroll
                for (int c = 0; c < ${T}; c++) {
% if makes_shifts:
                    const real2 sx = ramp_x[along_x[c] + k.x], sy = ramp_y[along_y[c] + k.y];
                    const real2 s = (real2)(sx.x * sy.x - sx.y * sy.y, sx.x * sy.y + sx.y * sy.x);
                    const real fr = xr * s.x - xi * s.y, fi = xr * s.y + xi * s.x;
% else:
                    const real fr = f[c][j], fi = f[c][n_padded + j];
% endif
                    #pragma unroll
                    for (int a = 0; a < ${R}; a++)
                        sum[a][c] = fma(re[a], fr, fma(im[a], fi, sum[a][c]));
                }
            }
            #pragma unroll
            for (int a = 0; a < ${R}; a++) {
                partial[${R * T} + a][lid] = norm[a];
                #pragma unroll
                for (int c = 0; c < ${T}; c++) partial[a * ${T} + c][lid] = sum[a][c];
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            /* every value is added up by ${runs} work-items, each its own share of the partial sums */
            for (int q = lid; q < ${runs * (R * T + R)}; q += WG) {
                const int value = q / ${runs}, run = q % ${runs};
                real s = (real)0;
                for (int u = run; u < WG; u += ${runs}) s += partial[value][u];
                partial[value][run] = s;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            for (int v = lid; v < ${R * T}; v += WG) {
                const int a = v / ${T}, c = v % ${T};
                if (r0 + a < n_rows && t0 + c < n_trans) {
                    __local const real* s = partial[v];
                    __local const real* n = partial[${R * T} + a];
                    const real product = ${" + ".join(f"s[{run}]" for run in range(runs))};
                    const real power_sum = ${" + ".join(f"n[{run}]" for run in range(runs))};
% if cross_correlation:
                    const real value = power_sum > (real)0
                        ? product * rsqrt(power_sum) * inverse_image_norm[image] : (real)0;
% else:
                    const real value = power_sum + product;
% endif
                    result[(long)(r0 + a) * n_trans + t0 + c] = value;
                }
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
    }
}
