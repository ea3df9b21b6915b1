/* scoring_operands: what the images bring to the squared differences, for all translations.
 *
 * For pixel j of the scoring list (p = subset[j], its place in the batch's pixel list):
 *   shifted[i][t][c][j] = - Re|Im ( w_j q_i C_ip X_ip S_tj ),   S_tj = ramp_x[t][kx] ramp_y[t][ky]
 *   ctf_power[i][j]     = power_factor w_j q_i^2 C_ip^2
 * so that diff2(i, r, t) = const_i + sum_j ctf_power |P_r|^2 + sum_j shifted . P_r
 * (Specification E 5.3, 5.4; w = 1/sigma2 and power_factor = 1/2, or in the cross-correlation
 * iteration w = multiplicity of the pixel and power_factor = 1). Zero for j >= n_pixels.
 *
 * image_ft   real2 [n][n_list]  masked image, Fourier space, origin at the box centre, read
 * ctf        real  [n][n_list], read       scale  real [n]  group scale q, read
 * weight     real  [n_padded]   w, read    subset int [n_padded], read
 * kxy        int2  [n_padded]   (kx, ky), read
 * ramp_x     real2 [n_trans][n_kx], ramp_y real2 [n_trans][2 h + 1] (ky + h), read
 * shifted    real  [n][n_trans][2][n_padded], write    ctf_power real [n][n_padded], write
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/scoring_operands.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void scoring_operands(
    __global const real2* restrict image_ft, __global const real* restrict ctf,
    __global const real* restrict scale, __global const real* restrict weight,
    __global const int* restrict subset, __global const int2* restrict kxy,
    __global const real2* restrict ramp_x, __global const real2* restrict ramp_y,
    const int n_images, const int n_list, const int n_pixels, const int n_padded,
    const int n_trans, const int n_kx, const int h, const real power_factor,
    __global real* restrict shifted, __global real* restrict ctf_power)
{
    const int j = get_global_id(0);
    const int t = get_global_id(1);
    const int i = get_global_id(2);
    if (j >= n_padded || t >= n_trans || i >= n_images) return;
    real2 value = (real2)((real)0, (real)0);
    real power = (real)0;
    if (j < n_pixels) {
        const long p = (long)i * n_list + subset[j];
        const real qc = scale[i] * ctf[p];
        const real2 x = image_ft[p];
        const int2 k = kxy[j];
        const real2 sx = ramp_x[t * n_kx + k.x];
        const real2 sy = ramp_y[t * (2 * h + 1) + k.y + h];
        const real2 s = (real2)(sx.x * sy.x - sx.y * sy.y, sx.x * sy.y + sx.y * sy.x);
        const real factor = -weight[j] * qc;
        value = factor * (real2)(x.x * s.x - x.y * s.y, x.x * s.y + x.y * s.x);
        power = power_factor * weight[j] * qc * qc;
    }
    __global real* out = shifted + ((long)i * n_trans + t) * 2 * n_padded + j;
    out[0] = value.x;
    out[n_padded] = value.y;
    if (t == 0) ctf_power[(long)i * n_padded + j] = power;
}
