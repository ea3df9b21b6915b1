/* compact_significant: the sparse significant samples as one contiguous list with index vectors.
 *
 * For image i the candidates with a weight >= threshold[i], ascending, become blocks
 * b = block_start[i] ...:  block_image[b] = i, block_orientation[b] = e,
 * block_trans[b] = first entry in trans_list, whose entries are the significant translations t.
 * The translations of consecutive blocks are contiguous; image i starts at trans_start[i], and
 * behind the last block block_trans has the number of all.
 * One work-group of ${wg} an image. Specification E 5.4 (pass 2); the paper's aux vector.
 *
 * weights real, candidate int, start int [images + 1], threshold real [images],
 * block_start, trans_start int [images + 1], read
 * block_image, block_orientation int [blocks], block_trans int [blocks + 1], trans_list int, write
 * Local memory: ${wg} ints. Order of sums: integers.
 * Reference: tests/reference/compact_significant.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/reduce.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${wg}, 1, 1)))
void compact_significant(
    __global const real* restrict weights, __global const int* restrict candidate,
    __global const int* restrict start, const int n_trans,
    __global const real* restrict threshold, __global const int* restrict block_start,
    __global const int* restrict trans_start, const int n_images,
    __global int* restrict block_image, __global int* restrict block_orientation,
    __global int* restrict block_trans, __global int* restrict trans_list)
{
    __local int scratch[${wg}];
    const int i = get_group_id(0);
    const int lid = get_local_id(0);
    const int first = start[i];
    const int n = start[i + 1] - first;
    const real x = threshold[i];
    int block = block_start[i], trans = trans_start[i];
    if (i == 0 && lid == 0) block_trans[block_start[n_images]] = trans_start[n_images];
    for (int c0 = 0; c0 < n; c0 += ${wg}) {
        const int c = c0 + lid;
        __global const real* w = weights + (long)(first + c) * n_trans;
        int found = 0;
        if (c < n)
            for (int t = 0; t < n_trans; t++) found += w[t] >= x;
        int blocks, samples;
        const int b = block + group_exclusive_sum_int(found > 0, scratch, &blocks);
        int place = trans + group_exclusive_sum_int(found, scratch, &samples);
        if (found > 0) {
            block_image[b] = i;
            block_orientation[b] = candidate[first + c];
            block_trans[b] = place;
            for (int t = 0; t < n_trans; t++)
                if (w[t] >= x) trans_list[place++] = t;
        }
        block += blocks;
        trans += samples;
    }
}
