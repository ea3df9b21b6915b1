/* slice_differences: how much pairs of slices differ, weighted by CTF and noise.
 *
 *   out[n] = sum_j weight[t % n_weights][j] | first[t][j] - second[n][j] |^2,   t = trial[n]
 * One work-group of ${wg} a pair. Specification E C.3 (signal-to-noise ratio of a wrong rotation).
 *
 * first  real [trials][2][n_padded], second real [n_pairs][2][n_padded], read
 * weight real [n_weights][n_padded] (0 behind the list), trial int [n_pairs], read
 * out    real [n_pairs], write
 * Local memory: ${wg} reals. Order of sums: strided, then a pairwise tree.
 * Reference: tests/reference/slice_differences.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/reduce.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${wg}, 1, 1)))
void slice_differences(
    __global const real* restrict first, __global const real* restrict second,
    __global const real* restrict weight, __global const int* restrict trial,
    const int n_weights, const int n_padded, __global real* restrict out)
{
    __local real scratch[${wg}];
    const int n = get_group_id(0);
    __global const real* a = first + 2L * trial[n] * n_padded;
    __global const real* b = second + 2L * n * n_padded;
    __global const real* w = weight + (long)(trial[n] % n_weights) * n_padded;
    real sum = (real)0;
    for (int j = get_local_id(0); j < n_padded; j += ${wg}) {
        const real re = a[j] - b[j], im = a[n_padded + j] - b[n_padded + j];
        sum = fma(w[j], re * re + im * im, sum);
    }
    sum = group_sum(sum, scratch);
    if (get_local_id(0) == 0) out[n] = sum;
}
