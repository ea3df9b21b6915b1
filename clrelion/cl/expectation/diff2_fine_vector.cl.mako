/* diff2_fine_vector: squared differences of a list of small dense blocks, explicit vectors (CPUs:
 * one work-item a work-group does one block).
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
 * ctf_power    real [images][n_padded], read
 * projections  real [.][2][n_padded], read;  n_padded a multiple of ${vector}
 * block_image, block_row, block_n_rows, block_trans, block_n_trans int [blocks], block_out long
 * [blocks]; row_projection int [rows], trans_list int, read
 * inverse_image_norm real [images], read (null unless cross-correlation)
 * out          real, write
 * Local memory: none. Order of sums: ${vector} strided partial sums, then pairwise.
 * Reference: tests/reference/diff2_fine.py
 */
<%include file="/common/types.cl.mako"/>
<% R = 4; T = 4 %>
static inline real horizontal_sum(const real${vector} v)
{
% if vector == 16:
    const real8 h = v.lo + v.hi;
    const real4 q = h.lo + h.hi;
% elif vector == 8:
    const real4 q = v.lo + v.hi;
% else:
    const real4 q = v;
% endif
    return (q.x + q.z) + (q.y + q.w);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void diff2_fine_vector(
    __global const real* restrict shifted, __global const real* restrict ctf_power,
    __global const real* restrict projections,
    __global const int* restrict block_image, __global const int* restrict block_row,
    __global const int* restrict block_n_rows, __global const int* restrict row_projection,
    __global const int* restrict block_trans,
    __global const int* restrict block_n_trans, __global const long* restrict block_out,
    __global const int* restrict trans_list, __global const real* restrict inverse_image_norm,
    const int n_blocks, const int n_trans_all, const int n_children, const int n_padded,
    __global real* restrict out)
{
    const int b = get_global_id(0);
    if (b >= n_blocks) return;
    const int image = block_image[b];
    const int n_rows = block_n_rows[b];
    __global const int* of_row = row_projection + block_row[b];
    const int n_trans = block_n_trans[b] * n_children;
    __global const int* trans = trans_list + block_trans[b];
    __global const real* x = shifted + (long)image * n_trans_all * 2 * n_padded;
    __global const real* power = ctf_power + (long)image * n_padded;
    __global real* result = out + block_out[b];

    for (int r0 = 0; r0 < n_rows; r0 += ${R}) {
        __global const real* p[${R}];
        real norm[${R}];
        for (int a = 0; a < ${R}; a++) {
            p[a] = projections + 2L * of_row[min(r0 + a, n_rows - 1)] * n_padded;
            real${vector} sum = (real${vector})((real)0);
            for (int j = 0; j < n_padded; j += ${vector}) {
                const real${vector} re = vload${vector}(0, p[a] + j);
                const real${vector} im = vload${vector}(0, p[a] + n_padded + j);
                sum = fma(vload${vector}(0, power + j), fma(re, re, im * im), sum);
            }
            norm[a] = horizontal_sum(sum);
        }
        for (int t0 = 0; t0 < n_trans; t0 += ${T}) {
            __global const real* f[${T}];
            real${vector} sum[${R}][${T}];
            #pragma unroll
            for (int c = 0; c < ${T}; c++) {
                const int t = min(t0 + c, n_trans - 1);
                f[c] = x + (long)(trans[t / n_children] * n_children + t % n_children) * 2 * n_padded;
                #pragma unroll
                for (int a = 0; a < ${R}; a++) sum[a][c] = (real${vector})((real)0);
            }
            for (int j = 0; j < 2 * n_padded; j += ${vector}) {
                real${vector} slice[${R}];
                #pragma unroll
                for (int a = 0; a < ${R}; a++) slice[a] = vload${vector}(0, p[a] + j);
                #pragma unroll
                for (int c = 0; c < ${T}; c++) {
                    const real${vector} image_value = vload${vector}(0, f[c] + j);
                    #pragma unroll
                    for (int a = 0; a < ${R}; a++)
                        sum[a][c] = fma(slice[a], image_value, sum[a][c]);
                }
            }
            for (int a = 0; a < ${R} && r0 + a < n_rows; a++)
                for (int c = 0; c < ${T} && t0 + c < n_trans; c++) {
                    const real product = horizontal_sum(sum[a][c]);
% if cross_correlation:
                    const real value = norm[a] > (real)0
                        ? product * rsqrt(norm[a]) * inverse_image_norm[image] : (real)0;
% else:
                    const real value = norm[a] + product;
% endif
                    result[(long)(r0 + a) * n_trans + t0 + c] = value;
                }
        }
    }
}
