/* image_maxima: the largest log-weight of each image, and how many orientations come near it.
 *
 *   maximum[i] = max_e maxima[maxima_base[i] + e]
 *   n_candidates[i] = #{ e : maxima >= maximum[i] - cutoff }      (0 if the maximum is not finite)
 * One work-group of ${wg} an image. Specification E 5.5.
 *
 * maxima real, n_orientations int [images], maxima_base long [images], read
 * maximum real [images], n_candidates int [images], write
 * Local memory: ${wg} reals + ${wg} ints. Order of sums: none (integers).
 * Reference: tests/reference/image_maxima.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/reduce.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${wg}, 1, 1)))
void image_maxima(
    __global const real* restrict maxima, __global const int* restrict n_orientations,
    __global const long* restrict maxima_base, const real cutoff,
    __global real* restrict maximum, __global int* restrict n_candidates)
{
    __local real scratch[${wg}];
    __local int counts[${wg}];
    const int i = get_group_id(0);
    const int lid = get_local_id(0);
    const int n = n_orientations[i];
    __global const real* mine = maxima + maxima_base[i];
    real best = -INFINITY;
    for (int e = lid; e < n; e += ${wg}) best = fmax(best, mine[e]);
    best = group_max(best, scratch);
    int count = 0;
    if (isfinite(best))
        for (int e = lid; e < n; e += ${wg}) count += mine[e] >= best - cutoff;
    count = group_sum_int(count, counts);
    if (lid == 0) {
        maximum[i] = best;
        n_candidates[i] = count;
    }
}
