/* diff2_coarse_vector: squared differences of all images of a batch with all orientations of a run
 * of panels, as a register-tiled matrix product with explicit vectors (CPUs: one work-item a
 * work-group holds a tile of ${rows} image rows x ${panel} orientations).
 *
 *   product[m][r] = sum_k images[m][k] projections[r / panel][k][r % panel]
 * epilogue "${epilogue}":
 *   none         out = product
 *   add_norm     out = product + norm[m / n_trans][r]
 *   correlation  out = product / sqrt(norm[m / n_trans][r]) * inverse_image_norm[m / n_trans]
 * written to out[m * out_stride + first_column + r], m = image * n_trans + translation.
 * Specification E 5.4 (a), (b); design.md 3.
 *
 * images       real [n_rows][depth], read
 * projections  real [panels][depth][panel], read
 * norm         real [images][out_stride] (column first_column + r), read, null for "none"
 * inverse_image_norm real [images], read, null but for "correlation"
 * out          real [n_rows][out_stride], write
 * Local memory: none. Order of sums: k ascending.
 * Reference: tests/reference/diff2_coarse.py
 */
<%include file="/common/types.cl.mako"/>
<% n_vectors = panel // vector %>
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void diff2_coarse_vector(
    __global const real* restrict images, __global const real* restrict projections,
    __global const real* restrict norm, __global const real* restrict inverse_image_norm,
    __global real* restrict out, const int n_rows, const int depth, const int n_trans,
    const int out_stride, const int first_column)
{
    const int m0 = get_global_id(0) * ${rows};
    const int panel = get_global_id(1);
    __global const real* p = projections + (long)panel * depth * ${panel};
    __global const real* row[${rows}];
    real${vector} sum[${rows}][${n_vectors}];
    #pragma unroll
    for (int a = 0; a < ${rows}; a++) {
        row[a] = images + (long)min(m0 + a, n_rows - 1) * depth;
        #pragma unroll
        for (int b = 0; b < ${n_vectors}; b++) sum[a][b] = (real${vector})((real)0);
    }
    for (int k = 0; k < depth; k++) {
        real${vector} column[${n_vectors}];
        #pragma unroll
        for (int b = 0; b < ${n_vectors}; b++)
            column[b] = vload${vector}(b, p + (long)k * ${panel});
        #pragma unroll
        for (int a = 0; a < ${rows}; a++) {
            const real${vector} x = (real${vector})(row[a][k]);
            #pragma unroll
            for (int b = 0; b < ${n_vectors}; b++) sum[a][b] = fma(x, column[b], sum[a][b]);
        }
    }
    const long column0 = (long)first_column + (long)panel * ${panel};
    for (int a = 0; a < ${rows}; a++) {
        const int m = m0 + a;
        if (m >= n_rows) break;
        for (int b = 0; b < ${n_vectors}; b++) {
            real${vector} value = sum[a][b];
% if epilogue != "none":
            const real${vector} nrm =
                vload${vector}(b, norm + (long)(m / n_trans) * out_stride + column0);
% endif
% if epilogue == "add_norm":
            value += nrm;
% elif epilogue == "correlation":
            /* padding and empty projections have no norm: correlation 0 */
            value = select((real${vector})((real)0), value * rsqrt(nrm), nrm > (real)0)
                * inverse_image_norm[m / n_trans];
% endif
            vstore${vector}(value, b, out + (long)m * out_stride + column0);
        }
    }
}
