/* backprojection_weights: factors of the images in the sums and in the comparison.
 *
% if premultiplied:
 *   data[i][j] = q_i w_j,        weight[i][j] = q_i^2 C_ij w_j   (stored C is squared; E Q20 fixed)
% else:
 *   data[i][j] = q_i C_ij w_j,   weight[i][j] = q_i^2 C_ij^2 w_j
% endif
 *   compared[i][j] = q_i S_ij,   S the CTF that references are multiplied with (C or 1)
 * Specification E 5.6; M 1.1.
 *
 * ctf, scoring_ctf real [n][n_list] (C, S), scale real [n] (q), inverse_sigma2 real [n_list] (w), read
 * data, weight, compared real [n][n_list], write
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/backprojection_weights.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void backprojection_weights(
    __global const real* restrict ctf, __global const real* restrict scoring_ctf,
    __global const real* restrict scale, __global const real* restrict inverse_sigma2,
    const int n_images, const int n_list, __global real* restrict data,
    __global real* restrict weight, __global real* restrict compared)
{
    const int j = get_global_id(0);
    const int i = get_global_id(1);
    if (j >= n_list || i >= n_images) return;
    const long p = (long)i * n_list + j;
    const real c = ctf[p], q = scale[i], w = inverse_sigma2[j];
% if premultiplied:
    data[p] = q * w;
    weight[p] = q * q * c * w;
% else:
    data[p] = q * c * w;
    weight[p] = q * q * c * c * w;
% endif
    compared[p] = q * scoring_ctf[p];
}
