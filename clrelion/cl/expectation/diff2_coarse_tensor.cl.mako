/* diff2_coarse_tensor: diff2_coarse on tensor cores, its operands split into pairs of halves
 * (split_rows, split_panels): x = scale (high + low), and the product of the two low parts, 2^-22 of
 * the whole, is left out.
 *
 *   product[m][r] = row_scale[m] column_scale[r] sum_k (high high + high low + low high)
 * and the epilogue "${epilogue}" of diff2_coarse. Work-groups of 128 hold a tile of 64 image rows x
 * 128 orientations, a warp 32 x 64; 16 terms are in work while three times as many are on their way.
 * Specification E 5.4 (a), (b); design.md 3. depth a multiple of 16, out_stride and first_column even.
 *
 * images        bytes of halves [n_rows][depth / 16][high, low][16], read
 * projections   bytes of halves [panels][depth / 16][high, low][16][128], read
 * row_scale, column_scale float [n_rows], [panels * 128], read
 * norm, inverse_image_norm, out as of diff2_coarse
 * Local memory: 49152 bytes. Order of sums: k ascending; chains of 64
 * terms in the tensor cores, which cut off, the sums of these in fp32, which rounds.
 * Reference: tests/reference/diff2_coarse.py
 */
<%include file="/common/tensor.cl.mako"/>
<%
row_tiles, column_tiles = 2, 8  # of 16 x 8, for a warp
stages, steps_a_chain = 4, 4
image_bytes = 64 * 16 * 2 * 2
stage_bytes = image_bytes + 16 * 128 * 2 * 2
%>
<%def name="copy_step(step, slot)">
            #pragma unroll
            for (int c = 0; c < 2; c++)
                copy_to_local(image_to[c] + ${slot} * STAGE_BYTES, image_from[c] + (${step}) * 64);
            #pragma unroll
            for (int c = 0; c < 4; c++)
                copy_to_local(panel_to[c] + ${slot} * STAGE_BYTES,
                              panel_from + (long)(${step}) * 8192 + c * THREADS * 16);
</%def>
#define ROWS 64
#define PANEL 128
#define THREADS 128
#define STAGES ${stages}
#define STAGE_BYTES ${stage_bytes}
#define IMAGE_BYTES ${image_bytes}

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void diff2_coarse_tensor(
    __global const uchar* restrict images, __global const uchar* restrict projections,
    __global const float* restrict row_scale, __global const float* restrict column_scale,
    __global const float* restrict norm, __global const float* restrict inverse_image_norm,
    __global float* restrict out, const int n_rows, const int depth, const int n_trans,
    const int out_stride, const int first_column)
{
    __local __attribute__((aligned(128))) uchar tiles[STAGES * STAGE_BYTES];
    const uint base = local_address(tiles);
    const int lid = get_local_id(0), lane = lid % 32, warp = lid / 32;
    const int m0 = get_group_id(0) * ROWS, panel = get_group_id(1);
    const int warp_row = (warp / 2) * 32, warp_column = (warp % 2) * 64;
    const int n_steps = depth / 16;

    /* What this item copies: 16 bytes of two image rows, and of four rows of projections. In local
     * memory the 16-byte chunks of a row are permuted so that fragments come without conflicts. */
    __global const uchar* image_from[2];
    uint image_to[2], panel_to[4];
    #pragma unroll
    for (int c = 0; c < 2; c++) {
        const int row = (lid + c * THREADS) / 4, chunk = lid % 4;
        image_from[c] = images + (long)min(m0 + row, n_rows - 1) * n_steps * 64 + chunk * 16;
        image_to[c] = base + row * 64 + ((chunk ^ ((row / 2) % 4)) * 16);
    }
    __global const uchar* panel_from = projections + (long)panel * n_steps * 8192 + lid * 16;
    #pragma unroll
    for (int c = 0; c < 4; c++) {
        const int row = (lid + c * THREADS) / 16, chunk = lid % 16;
        panel_to[c] = base + IMAGE_BYTES + row * 256 + ((chunk ^ (row % 8)) * 16);
    }
    /* Where its fragments are; the low halves of images lie two chunks on, those of panels 4096 B. */
    uint image_at[${row_tiles}], panel_at[${column_tiles // 2}];
    #pragma unroll
    for (int i = 0; i < ${row_tiles}; i++) {
        const int row = warp_row + i * 16 + lane % 16;
        image_at[i] = base + row * 64 + (((lane / 16) ^ ((row / 2) % 4)) * 16);
    }
    #pragma unroll
    for (int j = 0; j < ${column_tiles // 2}; j++) {
        const int k = lane % 16, chunk = warp_column / 8 + 2 * j + lane / 16;
        panel_at[j] = base + IMAGE_BYTES + k * 256 + ((chunk ^ (k % 8)) * 16);
    }

    float sum[${row_tiles}][${column_tiles}][4], chain[${row_tiles}][${column_tiles}][4];
    #pragma unroll
    for (int i = 0; i < ${row_tiles}; i++)
        #pragma unroll
        for (int j = 0; j < ${column_tiles}; j++)
            #pragma unroll
            for (int v = 0; v < 4; v++) sum[i][j][v] = chain[i][j][v] = 0.0f;

    #pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < n_steps) {
            ${copy_step("s", "s")}
        }
        COMMIT_COPIES;
    }
    int slot = 0, free_slot = STAGES - 1;
    for (int step = 0; step < n_steps; step++) {
        WAIT_COPIES(${stages - 2});
        barrier(CLK_LOCAL_MEM_FENCE);
        if (step + STAGES - 1 < n_steps) {
            ${copy_step("step + STAGES - 1", "free_slot")}
        }
        COMMIT_COPIES;
        const uint here = slot * STAGE_BYTES;
        uint high[${column_tiles // 2}][4], low[${column_tiles // 2}][4];
        #pragma unroll
        for (int j = 0; j < ${column_tiles // 2}; j++) {
            load_transposed(high[j], panel_at[j] + here);
            load_transposed(low[j], panel_at[j] + here + 4096);
        }
        #pragma unroll
        for (int i = 0; i < ${row_tiles}; i++) {
            uint image_high[4], image_low[4];
            load_fragments(image_high, image_at[i] + here);
            load_fragments(image_low, (image_at[i] ^ 32) + here);
            #pragma unroll
            for (int j = 0; j < ${column_tiles}; j++)
                multiply_tiles(chain[i][j], image_low, high[j / 2] + 2 * (j % 2));
            #pragma unroll
            for (int j = 0; j < ${column_tiles}; j++)
                multiply_tiles(chain[i][j], image_high, low[j / 2] + 2 * (j % 2));
            #pragma unroll
            for (int j = 0; j < ${column_tiles}; j++)
                multiply_tiles(chain[i][j], image_high, high[j / 2] + 2 * (j % 2));
        }
        if (step % ${steps_a_chain} == ${steps_a_chain - 1} || step == n_steps - 1) {
            #pragma unroll
            for (int i = 0; i < ${row_tiles}; i++)
                #pragma unroll
                for (int j = 0; j < ${column_tiles}; j++)
                    #pragma unroll
                    for (int v = 0; v < 4; v++) {
                        sum[i][j][v] += chain[i][j][v];
                        chain[i][j][v] = 0.0f;
                    }
        }
        slot = (slot + 1) % STAGES;
        free_slot = (free_slot + 1) % STAGES;
    }
    #pragma unroll
    for (int i = 0; i < ${2 * row_tiles}; i++) {
        const int m = m0 + warp_row + i * 8 + lane / 4;
        if (m >= n_rows) continue;
        const float scale = row_scale[m];
        #pragma unroll
        for (int j = 0; j < ${column_tiles}; j++) {
            const int r = panel * PANEL + warp_column + j * 8 + 2 * (lane % 4);
            const long column = (long)first_column + r;
            float2 value = (float2)(sum[i / 2][j][2 * (i % 2)], sum[i / 2][j][2 * (i % 2) + 1]);
            value *= scale * *(__global const float2*)(column_scale + r);
% if epilogue != "none":
            const float2 nrm =
                *(__global const float2*)(norm + (long)(m / n_trans) * out_stride + column);
% endif
% if epilogue == "add_norm":
            value += nrm;
% elif epilogue == "correlation":
            const float of_image = inverse_image_norm[m / n_trans];
            value.x = nrm.x > 0.0f ? value.x * rsqrt(nrm.x) * of_image : 0.0f;
            value.y = nrm.y > 0.0f ? value.y * rsqrt(nrm.y) * of_image : 0.0f;
% endif
            *(__global float2*)(out + (long)m * out_stride + column) = value;
        }
    }
}
