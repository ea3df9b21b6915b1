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
 * Local memory: two pairs of tiles, 33792 bytes: while one is multiplied the next is on its way.
 * Order of sums: k ascending.
 * Reference: tests/reference/diff2_coarse.py
 */
<%include file="/common/types.cl.mako"/>
<% step = 8 if double_precision else 16 %>
#define TILE 128
#define PITCH 132
#define DEPTH_STEP ${step}
#define SHARE ${step // 2}
typedef real${step // 2} real_share;
/* a share of a matrix whose rows are multiples of it */
#define SHARE_AT(pointer) (*(__global const real_share*)(pointer))

__kernel __attribute__((reqd_work_group_size(256, 1, 1)))
void diff2_coarse(
    __global const real* restrict images, __global const real* restrict projections,
    __global const real* restrict norm, __global const real* restrict inverse_image_norm,
    __global real* restrict out, const int n_rows, const int depth, const int n_trans,
    const int out_stride, const int first_column)
{
    /* in fours, so that the compiler knows them to be aligned: else it reads them one by one */
    __local real4 image_tile[2][DEPTH_STEP][PITCH / 4];
    __local real4 projection_tile[2][DEPTH_STEP][PITCH / 4];
    const int lid = get_local_id(0);
    const int m0 = get_group_id(0) * TILE;
    const int panel = get_group_id(1);
    /* a warp of 32 holds 4 x 8 of the 16 x 16 items, so that it reads few values of each tile */
    const int tx = (lid / 32 % 2) * 8 + lid % 8, ty = (lid / 64) * 4 + lid / 8 % 4;

    /* SHARE values of one image row (neighbouring items: neighbouring rows, so that they write to
     * different banks), and as many of one row of projections */
    const int load_row = lid % TILE, load_k = (lid / TILE) * SHARE;
    const int load_depth = lid / (TILE / SHARE), load_column = (lid % (TILE / SHARE)) * SHARE;
    __global const real* from_row = images + (long)min(m0 + load_row, n_rows - 1) * depth + load_k;
    __global const real* from_panel =
        projections + ((long)panel * depth + load_depth) * TILE + load_column;

    real sum[8][8];
    #pragma unroll
    for (int a = 0; a < 8; a++)
        #pragma unroll
        for (int b = 0; b < 8; b++) sum[a][b] = (real)0;

    real_share of_images = SHARE_AT(from_row);
    real_share of_panel = SHARE_AT(from_panel);
    for (int k0 = 0, now = 0; k0 < depth; k0 += DEPTH_STEP, now ^= 1) {
% for k in range(step // 2):
        ((__local real*)image_tile[now][load_k + ${k}])[load_row] = of_images.s${k};
% endfor
% for part in range(step // 8):
        projection_tile[now][load_depth][load_column / 4 + ${part}] =
            of_panel.${"s0123" if step == 8 else ("lo", "hi")[part]};
% endfor
        barrier(CLK_LOCAL_MEM_FENCE);
        if (k0 + DEPTH_STEP < depth) {
            of_images = SHARE_AT(from_row + k0 + DEPTH_STEP);
            of_panel = SHARE_AT(from_panel + (long)(k0 + DEPTH_STEP) * TILE);
        }
        #pragma unroll
        for (int k = 0; k < DEPTH_STEP; k++) {
            /* rows ty*4 .. +3 and 64 + ty*4 .. +3, columns likewise: no bank conflicts */
            const real4 a0 = image_tile[now][k][ty], a1 = image_tile[now][k][16 + ty];
            const real4 b0 = projection_tile[now][k][tx], b1 = projection_tile[now][k][16 + tx];
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
