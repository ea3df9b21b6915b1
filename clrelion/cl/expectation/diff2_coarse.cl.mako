/* diff2_coarse: squared differences of all images of a batch with all orientations of a run of
 * panels, as a matrix product tiled through local memory (GPUs: work-groups of 256 hold a tile of
 * 128 image rows x 128 orientations, 8 x 8 values a work-item).
 *
 *   product[m][r] = sum_k images[m][k] projections[r / 128][k][r % 128]
 * epilogue "${epilogue}":
 *   none         out = product
 *   add_norm     out = product + norm[m / n_trans][r]
 *   correlation  out = product / sqrt(norm[m / n_trans][r]) * inverse_image_norm[m / n_trans]
 * written to out[m * out_stride + first_column + r], m = image * n_trans + translation.
 * Specification E 5.4 (a), (b); design.md 3. depth must be a multiple of 16.
 *
 * images       real [n_rows][depth], read
 * projections  real [panels][depth][128], read
 * norm         real [images][out_stride] (column first_column + r), read, null for "none"
 * inverse_image_norm real [images], read, null but for "correlation"
 * out          real [n_rows][out_stride], write
 * Local memory: 2 * 16 * 132 reals. Order of sums: k ascending.
 * Reference: tests/reference/diff2_coarse.py
 */
<%include file="/common/types.cl.mako"/>
#define DEPTH_STEP 16
#define TILE 128
#define PITCH 132

__kernel __attribute__((reqd_work_group_size(256, 1, 1)))
void diff2_coarse(
    __global const real* restrict images, __global const real* restrict projections,
    __global const real* restrict norm, __global const real* restrict inverse_image_norm,
    __global real* restrict out, const int n_rows, const int depth, const int n_trans,
    const int out_stride, const int first_column)
{
    __local real image_tile[DEPTH_STEP][PITCH];
    __local real projection_tile[DEPTH_STEP][PITCH];
    const int lid = get_local_id(0);
    const int m0 = get_group_id(0) * TILE;
    const int panel = get_group_id(1);
    const int tx = lid % 16, ty = lid / 16;
    __global const real* p = projections + (long)panel * depth * TILE;

    const int load_row = lid / 2, load_k = (lid % 2) * 8;
    __global const real* image_row =
        images + (long)min(m0 + load_row, n_rows - 1) * depth + load_k;
    const int load_depth = lid / 16, load_column = (lid % 16) * 8;

    real sum[8][8];
    #pragma unroll
    for (int a = 0; a < 8; a++)
        #pragma unroll
        for (int b = 0; b < 8; b++) sum[a][b] = (real)0;

    for (int k0 = 0; k0 < depth; k0 += DEPTH_STEP) {
        const real8 from_images = vload8(0, image_row + k0);
        const real8 from_panel = vload8(0, p + (long)(k0 + load_depth) * TILE + load_column);
        barrier(CLK_LOCAL_MEM_FENCE);
        image_tile[load_k + 0][load_row] = from_images.s0;
        image_tile[load_k + 1][load_row] = from_images.s1;
        image_tile[load_k + 2][load_row] = from_images.s2;
        image_tile[load_k + 3][load_row] = from_images.s3;
        image_tile[load_k + 4][load_row] = from_images.s4;
        image_tile[load_k + 5][load_row] = from_images.s5;
        image_tile[load_k + 6][load_row] = from_images.s6;
        image_tile[load_k + 7][load_row] = from_images.s7;
        vstore4(from_panel.lo, 0, &projection_tile[load_depth][load_column]);
        vstore4(from_panel.hi, 0, &projection_tile[load_depth][load_column + 4]);
        barrier(CLK_LOCAL_MEM_FENCE);
        #pragma unroll
        for (int k = 0; k < DEPTH_STEP; k++) {
            /* rows ty*4 .. +3 and 64 + ty*4 .. +3, columns likewise: no bank conflicts */
            const real4 a0 = vload4(0, &image_tile[k][ty * 4]);
            const real4 a1 = vload4(0, &image_tile[k][64 + ty * 4]);
            const real4 b0 = vload4(0, &projection_tile[k][tx * 4]);
            const real4 b1 = vload4(0, &projection_tile[k][64 + tx * 4]);
            const real a[8] = {a0.x, a0.y, a0.z, a0.w, a1.x, a1.y, a1.z, a1.w};
            const real b[8] = {b0.x, b0.y, b0.z, b0.w, b1.x, b1.y, b1.z, b1.w};
            #pragma unroll
            for (int u = 0; u < 8; u++)
                #pragma unroll
                for (int v = 0; v < 8; v++) sum[u][v] = fma(a[u], b[v], sum[u][v]);
        }
    }
    const long column0 = (long)first_column + (long)panel * TILE;
    #pragma unroll
    for (int u = 0; u < 8; u++) {
        const int m = m0 + (u / 4) * 64 + ty * 4 + u % 4;
        if (m >= n_rows) continue;
        #pragma unroll
        for (int v = 0; v < 8; v++) {
            const long column = column0 + (v / 4) * 64 + tx * 4 + v % 4;
            real value = sum[u][v];
% if epilogue != "none":
            const real nrm = norm[(long)(m / n_trans) * out_stride + column];
% endif
% if epilogue == "add_norm":
            value += nrm;
% elif epilogue == "correlation":
            /* padding and empty projections have no norm: correlation 0 */
            value = nrm > (real)0 ? value * rsqrt(nrm) * inverse_image_norm[m / n_trans] : (real)0;
% endif
            out[(long)m * out_stride + column] = value;
        }
    }
}
