/* significance: the threshold weight of each image, and how many samples and orientations reach it.
 *
 * Over the candidates' weights w of image i (compact_candidates):
 *   sum_weight[i] = sum w;  threshold[i] = weight at which the running sum over the largest weights
 *   first exceeds adaptive_fraction * sum_weight, not below the max_significants-th largest
 *   (max_significants <= 0: no limit);  n_samples[i] = #{ w >= threshold },
 *   n_orientations[i] = #{ candidates with such a sample }.
 * One work-group of ${wg} an image. Specification E 5.5 (Significance).
 *
 * weights real, start int [images + 1], read
 * sum_weight, threshold real [images]; n_samples, n_orientations int [images], write
 * Local memory: ${wg} reals + ${wg} ints. Order of sums: strided, then a pairwise tree.
 * Reference: tests/reference/significance.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/reduce.cl.mako"/>
<%include file="/common/threshold.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${wg}, 1, 1)))
void significance(
    __global const real* restrict weights, __global const int* restrict start, const int n_trans,
    const real adaptive_fraction, const int max_significants,
    __global real* restrict sum_weight, __global real* restrict threshold,
    __global int* restrict n_samples, __global int* restrict n_orientations)
{
    __local real scratch[${wg}];
    __local int counts[${wg}];
    const int i = get_group_id(0);
    const int lid = get_local_id(0);
    const int n_candidates = start[i + 1] - start[i];
    const long n = (long)n_candidates * n_trans;
    __global const real* w = weights + (long)start[i] * n_trans;
    real sum = (real)0;
    for (long s = lid; s < n; s += ${wg}) sum += w[s];
    sum = group_sum(sum, scratch);
    real x = significance_threshold(
        w, n, adaptive_fraction * sum, max_significants, scratch, counts);
    /* a weight of zero is no sample, whatever the threshold */
    x = fmax(x, (real)${"DBL_MIN" if double_precision else "FLT_MIN"});
    int samples = 0, orientations = 0;
    for (int c = lid; c < n_candidates; c += ${wg}) {
        int found = 0;
        for (int t = 0; t < n_trans; t++) found += w[(long)c * n_trans + t] >= x;
        samples += found;
        orientations += found > 0;
    }
    samples = group_sum_int(samples, counts);
    orientations = group_sum_int(orientations, counts);
    if (lid == 0) {
        sum_weight[i] = sum;
        threshold[i] = x;
        n_samples[i] = samples;
        n_orientations[i] = orientations;
    }
}
