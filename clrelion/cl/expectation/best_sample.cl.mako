/* best_sample: the sample with the smallest score of each image (cross-correlation iteration).
 *
 *   best_score[i] = min score,  best_index[i] = first (e * n_trans + t) that has it,
 * over score[sample_base[i] + e * orientation_stride + t * translation_stride] with
 * log_orientation[prior_base[i] + e] > -inf. best_index = -1 if no finite score was found.
 * One work-group of ${wg} an image. Specification E 5.5 (b).
 *
 * score real, log_orientation real, n_orientations, prior_base int [images],
 * sample_base long [images], read;   best_score real [images], best_index int [images], write
 * Local memory: ${wg} reals + ${wg} ints. Order of sums: none.
 * Reference: tests/reference/best_sample.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/reduce.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${wg}, 1, 1)))
void best_sample(
    __global const real* restrict score, __global const real* restrict log_orientation,
    __global const int* restrict n_orientations, __global const int* restrict prior_base,
    __global const long* restrict sample_base, const int n_trans,
    const int orientation_stride, const int translation_stride,
    __global real* restrict best_score, __global int* restrict best_index)
{
    __local real scratch[${wg}];
    __local int indices[${wg}];
    const int i = get_group_id(0);
    const int lid = get_local_id(0);
    real best = INFINITY;
    int index = 0x7fffffff;
    for (int t = 0; t < n_trans; t++) {
        __global const real* s = score + sample_base[i] + (long)t * translation_stride;
        for (int e = lid; e < n_orientations[i]; e += ${wg}) {
            const real value = s[(long)e * orientation_stride];
            const int place = e * n_trans + t;
            if (isfinite(log_orientation[prior_base[i] + e])
                && (value < best || (value == best && place < index))) {
                best = value;
                index = place;
            }
        }
    }
    group_argmin(&best, &index, scratch, indices);
    if (lid == 0) {
        best_score[i] = best;
        best_index[i] = isfinite(best) ? index : -1;
    }
}
