/* difference_shells: how much pairs of slices differ, shell by shell, weighted by CTF and noise.
 *
 *   out[n][s] = sum over pixels q in [shell_start[s], shell_start[s + 1]) of
 *               weight[t % n_weights][j] | first[t][j] - second[n][j] |^2,   j = shell_pixel[q],
 * t = trial[n]. Specification E C.3, F.3 (shells that tell a wrong rotation).
 *
 * first  real [trials][2][n_padded], second real [n_pairs][2][n_padded], read
 * weight real [n_weights][n_padded], trial int [n_pairs], read
 * shell_start int [n_shells + 1], shell_pixel int, read
 * out    real [n_pairs][n_shells], write
 * Local memory: none. Order of sums: ascending.
 * Reference: tests/reference/slice_differences.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void difference_shells(
    __global const real* restrict first, __global const real* restrict second,
    __global const real* restrict weight, __global const int* restrict trial, const int n_weights,
    __global const int* restrict shell_start, __global const int* restrict shell_pixel,
    const int n_padded, const int n_shells, const int n_pairs, __global real* restrict out)
{
    const int s = get_global_id(0);
    const int n = get_global_id(1);
    if (s >= n_shells || n >= n_pairs) return;
    __global const real* a = first + 2L * trial[n] * n_padded;
    __global const real* b = second + 2L * n * n_padded;
    __global const real* w = weight + (long)(trial[n] % n_weights) * n_padded;
    real sum = (real)0;
    for (int q = shell_start[s]; q < shell_start[s + 1]; q++) {
        const int j = shell_pixel[q];
        const real re = a[j] - b[j], im = a[n_padded + j] - b[n_padded + j];
        sum = fma(w[j], re * re + im * im, sum);
    }
    out[(long)n * n_shells + s] = sum;
}
