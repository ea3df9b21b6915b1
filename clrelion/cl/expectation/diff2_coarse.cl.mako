/* diff2_coarse: squared differences of all images of a batch with all orientations of a run of
 * panels, as a matrix product tiled through local memory (GPUs: work-groups of 128 hold a tile of
 * 64 image rows x 128 orientations, 8 x 8 values a work-item).
 *
 *   product[m][r] = sum_k images[m][k] projections[r / 128][k][r % 128]
 * epilogue "${epilogue}":
 *   none         out = product
 *   add_norm     out = product + norm[m / n_trans][r]
 *   correlation  out = product / sqrt(norm[m / n_trans][r]) * inverse_image_norm[m / n_trans]
 * written to out[m * out_stride + first_column + r], m = image * n_trans + translation.
 * Specification E 5.4 (a), (b); design.md 3. depth must be a multiple of 8, out_stride and
 * first_column of 4.
 *
 * images       real [n_rows][depth], read
 * projections  real [panels][depth][128], read
 * norm         real [images][out_stride] (column first_column + r), read, null for "none"
 * inverse_image_norm real [images], read, null but for "correlation"
 * out          real [n_rows][out_stride], write
 * Local memory: two pairs of tiles, 12800 bytes (double: 25600): while one is multiplied the next is
 * on its way.
 * Order of sums: k ascending.
 * Reference: tests/reference/diff2_coarse.py
 */
<%include file="/common/types.cl.mako"/>
#define ROWS 64
#define PANEL 128
#define ITEMS 128
#define DEPTH_STEP 8
#define IMAGE_PITCH (ROWS / 4 + 1)
#define PANEL_PITCH (PANEL / 4 + 1)
<%def name="fetch(k)">
            of_images = *(__global const real4*)(from_row + ${k});
            #pragma unroll
            for (int i = 0; i < 2; i++)
                of_panel[i] = *(__global const real4*)(from_panel + (long)(${k} + 4 * i) * PANEL);
</%def>

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1)))
void diff2_coarse(
    __global const real* restrict images, __global const real* restrict projections,
    __global const real* restrict norm, __global const real* restrict inverse_image_norm,
    __global real* restrict out, const int n_rows, const int depth, const int n_trans,
    const int out_stride, const int first_column)
{
    /* in fours, so that the compiler knows them to be aligned: else it reads them one by one */
    __local real4 image_tile[2][DEPTH_STEP][IMAGE_PITCH];
    __local real4 panel_tile[2][DEPTH_STEP][PANEL_PITCH];
    const int lid = get_local_id(0), lane = lid % 32, warp = lid / 32;
    const int m0 = get_group_id(0) * ROWS;
    const int panel = get_group_id(1);
    /* Fours of rows and columns of this item: a warp of 32 holds 4 x 8 of them, twice each, in an
     * order in which lane l and l ^ 1 or l ^ 2 read the same four. */
    const int ty = (warp / 2) * 8 + lane % 2 + lane / 16 * 2;
    const int tx = (warp % 2) * 16 + lane / 2 % 8;

    /* An item brings half a step of one image row and two fours of the panel. Neighbouring items
     * bring neighbouring rows, so that they write to different banks. */
    const int load_row = lid % ROWS, load_k = (lid / ROWS) * 4;
    const int load_depth = lid / (PANEL / 4), load_column = lid % (PANEL / 4);
    __global const real* from_row = images + (long)min(m0 + load_row, n_rows - 1) * depth + load_k;
    __global const real* from_panel =
        projections + ((long)panel * depth + load_depth) * PANEL + load_column * 4;

    real sum[8][8];
    #pragma unroll
    for (int u = 0; u < 8; u++)
        #pragma unroll
        for (int v = 0; v < 8; v++) sum[u][v] = (real)0;

    real4 of_images, of_panel[2];
    ${fetch("0")}
    for (int k0 = 0; k0 < depth; k0 += 2 * DEPTH_STEP) {
        /* twice, so that the compiler knows which of the two tiles it is */
% for now in range(2):
% if now:
        if (k0 + DEPTH_STEP >= depth) break;
% endif
% for k in range(4):
        ((__local real*)image_tile[${now}][load_k + ${k}])[load_row] = of_images.s${k};
% endfor
        #pragma unroll
        for (int i = 0; i < 2; i++)
            panel_tile[${now}][load_depth + 4 * i][load_column] = of_panel[i];
        barrier(CLK_LOCAL_MEM_FENCE);
        if (k0 + ${now + 1} * DEPTH_STEP < depth) {
            ${fetch(f"k0 + {now + 1} * DEPTH_STEP")}
        }
        #pragma unroll
        for (int k = 0; k < DEPTH_STEP; k++) {
            const real4 a0 = image_tile[${now}][k][ty], a1 = image_tile[${now}][k][ty + 4];
            const real4 b0 = panel_tile[${now}][k][tx], b1 = panel_tile[${now}][k][tx + 8];
            const real a[8] = {a0.x, a0.y, a0.z, a0.w, a1.x, a1.y, a1.z, a1.w};
            const real b[8] = {b0.x, b0.y, b0.z, b0.w, b1.x, b1.y, b1.z, b1.w};
            #pragma unroll
            for (int u = 0; u < 8; u++)
                #pragma unroll
                for (int v = 0; v < 8; v++) sum[u][v] = fma(a[u], b[v], sum[u][v]);
        }
% endfor
    }
    #pragma unroll
    for (int u = 0; u < 8; u++) {
        const int m = m0 + (ty + u / 4 * 4) * 4 + u % 4;
        if (m >= n_rows) continue;
        #pragma unroll
        for (int v = 0; v < 8; v += 4) {
            const long column = (long)first_column + (long)panel * PANEL + (tx + v * 2) * 4;
            real4 value = (real4)(sum[u][v], sum[u][v + 1], sum[u][v + 2], sum[u][v + 3]);
% if epilogue != "none":
            const real4 nrm =
                *(__global const real4*)(norm + (long)(m / n_trans) * out_stride + column);
% endif
% if epilogue == "add_norm":
            value += nrm;
% elif epilogue == "correlation":
            /* padding and empty projections have no norm: correlation 0 */
            const real4 scaled = value * rsqrt(nrm) * inverse_image_norm[m / n_trans];
            value = nrm > (real4)((real)0) ? scaled : (real4)((real)0);
% endif
            *(__global real4*)(out + (long)m * out_stride + column) = value;
        }
    }
}
