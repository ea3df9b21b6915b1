/* pack_images: what the images bring to the sums, in blocks of sixteen pixels.
 *
 * packed[i][block] is, in rows of sixteen, the real and imaginary parts of q C X, those of
 * bp_data U, and bp_weight; the last three are 0 where bp_weight is not above 0, and all are 0 behind
 * the end of the list. Specification E 5.6, M 1.1.
 *
 * image_ft (X), unmasked_ft (U) real2 [n_images][n_list]; reference_ctf (q C), bp_data, bp_weight real
 * [n_images][n_list], read
 * packed real [n_images][n_blocks][5][16], write
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/pack_images.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void pack_images(
    __global const real2* restrict image_ft, __global const real2* restrict unmasked_ft,
    __global const real* restrict reference_ctf, __global const real* restrict bp_data,
    __global const real* restrict bp_weight, const int n_list, const int n_blocks,
    const int n_images, __global real* restrict packed)
{
    const int block = get_global_id(0);
    const int i = get_global_id(1);
    if (block >= n_blocks || i >= n_images) return;
    __global real* out = packed + 80L * ((long)i * n_blocks + block);
    for (int c = 0; c < 16; c++) {
        const int j = 16 * block + c;
        real2 x = (real2)((real)0, (real)0), u = x;
        real weight = (real)0;
        if (j < n_list) {
            const long p = (long)i * n_list + j;
            x = reference_ctf[p] * image_ft[p];
            if (bp_weight[p] > (real)0) {
                weight = bp_weight[p];
                u = bp_data[p] * unmasked_ft[p];
            }
        }
        out[c] = x.x;
        out[16 + c] = x.y;
        out[32 + c] = u.x;
        out[48 + c] = u.y;
        out[64 + c] = weight;
    }
}
