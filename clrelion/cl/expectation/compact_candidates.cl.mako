/* compact_candidates: list the candidate orientations of each image, with their weights.
 *
 * Candidates are the orientations with maxima >= maximum[i] - cutoff, in ascending order e:
 *   candidate[start[i] + c] = e
 *   weights[(start[i] + c) * n_trans + t] = exp(log-weight(i, e, t) - maximum[i])
 * One work-group of ${wg} an image. Specification E 5.5; log-weight as in orientation_maxima.
 *
 * diff2, log_orientation, log_translation, n_orientations, prior_base, sample_base, maxima_base,
 * maxima: as in orientation_maxima, read;  maximum real [images], start int [images], read
 * candidate int, weights real, write
 * Local memory: ${wg} ints. Order of sums: none (integers).
 * Reference: tests/reference/compact_candidates.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/reduce.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${wg}, 1, 1)))
void compact_candidates(
    __global const real* restrict diff2, __global const real* restrict log_orientation,
    __global const real* restrict log_translation, __global const int* restrict n_orientations,
    __global const int* restrict prior_base, __global const long* restrict sample_base,
    __global const long* restrict maxima_base, const int n_trans,
    const int orientation_stride, const int translation_stride,
    __global const real* restrict maxima, __global const real* restrict maximum,
    const real cutoff, __global const int* restrict start,
    __global int* restrict candidate, __global real* restrict weights)
{
    __local int scratch[${wg}];
    const int i = get_group_id(0);
    const int lid = get_local_id(0);
    const int n = n_orientations[i];
    const real top = maximum[i];
    if (!isfinite(top)) return;
    __global const real* mine = maxima + maxima_base[i];
    __global const real* lt = log_translation + (long)i * n_trans;
    int written = start[i];
    for (int e0 = 0; e0 < n; e0 += ${wg}) {
        const int e = e0 + lid;
        const int keep = e < n && mine[e] >= top - cutoff;
        int total;
        const int place = group_exclusive_sum_int(keep, scratch, &total);
        if (keep) {
            const long c = written + place;
            candidate[c] = e;
            __global const real* d = diff2 + sample_base[i] + (long)e * orientation_stride;
            const real shift = log_orientation[prior_base[i] + e] - top;
            for (int t = 0; t < n_trans; t++)
                weights[c * n_trans + t] = exp(lt[t] - d[(long)t * translation_stride] + shift);
        }
        written += total;
    }
}
