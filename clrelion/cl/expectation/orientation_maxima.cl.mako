/* orientation_maxima: the largest log-weight over translations of each (image, orientation).
 *
 * log-weight of sample (i, e, t):
 *   l = log_orientation[prior_base[i] + e] + log_translation[i][t]
 *       - diff2[sample_base[i] + e * orientation_stride + t * translation_stride]
 * maxima[maxima_base[i] + e] = max_t l,  e < n_orientations[i].   (Specification E 5.5)
 *
 * diff2            real, read       log_orientation real (-inf: not considered), read
 * log_translation  real [images][n_trans], read
 * n_orientations, prior_base int [images]; sample_base, maxima_base long [images], read
 * maxima           real, write
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/orientation_maxima.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void orientation_maxima(
    __global const real* restrict diff2, __global const real* restrict log_orientation,
    __global const real* restrict log_translation, __global const int* restrict n_orientations,
    __global const int* restrict prior_base, __global const long* restrict sample_base,
    __global const long* restrict maxima_base, const int n_trans,
    const int orientation_stride, const int translation_stride, __global real* restrict maxima)
{
    const int e = get_global_id(0);
    const int i = get_global_id(1);
    if (e >= n_orientations[i]) return;
    __global const real* d = diff2 + sample_base[i] + (long)e * orientation_stride;
    __global const real* lt = log_translation + (long)i * n_trans;
    real best = -INFINITY;
    for (int t = 0; t < n_trans; t++) best = fmax(best, lt[t] - d[(long)t * translation_stride]);
    maxima[maxima_base[i] + e] = best + log_orientation[prior_base[i] + e];
}
