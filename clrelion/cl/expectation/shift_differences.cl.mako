/* shift_differences: how much slices differ from themselves shifted, weighted by CTF and noise.
 *
 *   out[n] = sum_j weight[t % n_weights][j] |slice[t][j]|^2 
 *            (2 - 2 cos(2 pi (kx sx + ky sy) / box)),   t = trial[n], s = shift[n].
 * One work-group of ${wg} a shift. Specification E C.3 (signal-to-noise
 * ratio of a wrong shift): |1 - exp(i phi)|^2 = 4 sin^2(phi / 2).
 *
 * slices real [trials][2][n_padded], weight real [n_weights][n_padded] (0 behind the list), read
 * kxy int2 [n_padded], trial int [n_shifts], shift real2 [n_shifts] (px / box), read
 * out real [n_shifts], write
 * Local memory: ${wg} reals. Order of sums: strided, then a pairwise tree.
 * Reference: tests/reference/shift_differences.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/reduce.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${wg}, 1, 1)))
void shift_differences(
    __global const real* restrict slices, __global const real* restrict weight,
    __global const int2* restrict kxy, __global const int* restrict trial,
    __global const real2* restrict shift, const int n_weights, const int n_padded,
    __global real* restrict out)
{
    __local real scratch[${wg}];
    const int n = get_group_id(0);
    __global const real* p = slices + 2L * trial[n] * n_padded;
    __global const real* w = weight + (long)(trial[n] % n_weights) * n_padded;
    const real2 s = shift[n];
    real sum = (real)0;
    for (int j = get_local_id(0); j < n_padded; j += ${wg}) {
        const real half_turn = sinpi((real)kxy[j].x * s.x + (real)kxy[j].y * s.y);
        const real power = p[j] * p[j] + p[n_padded + j] * p[n_padded + j];
        sum = fma(w[j] * power, (real)4 * half_turn * half_turn, sum);
    }
    sum = group_sum(sum, scratch);
    if (get_local_id(0) == 0) out[n] = sum;
}
