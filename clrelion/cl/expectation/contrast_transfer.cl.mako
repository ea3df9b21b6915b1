/* contrast_transfer: the CTF of each particle at the listed pixels.
 *
 * gamma = -pi lambda (dU (u cos A + v sin A)^2 + dV (v cos A - u sin A)^2) + K4 q^4 - shift
 *         + even_aberration[j];   value = -sin gamma, then (Specification E 2.9)
 *   ${"first peak intact: 1 where |gamma| < pi/2; " if intact_first_peak else ""}envelope exp(-B q^2 / 4); ${"absolute value; " if phase_flipped else ("sign only; " if only_flip_phases else "")}
 *   times the scale factor; |value| < 1e-8 becomes +-1e-8.
 *
 * parameters real [n][8]: dU, dV (Angstrom), cos A, sin A, phase shift + atan(Q / sqrt(1 - Q^2))
 *            (rad), B (Angstrom^2), scale factor, 0; read
 * uv real2 [n_list] spatial frequency (1/Angstrom, magnification-corrected), read
 * even_aberration real [n_list] (rad), read
 * pi_lambda = pi lambda; k4 = pi/2 C lambda^3
 * out real [n][n_list], write${" (squared: premultiplied data)" if squared else ""}
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/contrast_transfer.py
 */
<%include file="/common/types.cl.mako"/>
<% f = "" if double_precision else "f" %>
__kernel void contrast_transfer(
    __global const real* restrict parameters, __global const real2* restrict uv,
    __global const real* restrict even_aberration, const real pi_lambda, const real k4,
    const int n_images, const int n_list, __global real* restrict out)
{
    const int j = get_global_id(0);
    const int i = get_global_id(1);
    if (j >= n_list || i >= n_images) return;
    __global const real* c = parameters + 8L * i;
    const real u = uv[j].x, v = uv[j].y;
    const real along = u * c[2] + v * c[3], across = v * c[2] - u * c[3];
    const real q2 = u * u + v * v;
    const real gamma = -pi_lambda * (c[0] * along * along + c[1] * across * across)
        + k4 * q2 * q2 - c[4] + even_aberration[j];
    real value = -sin(gamma);
% if intact_first_peak:
    if (fabs(gamma) < (real)M_PI_2${"" if double_precision else "_F"}) value = (real)1;
% endif
    value *= exp(-c[5] * q2 * 0.25${f});
% if phase_flipped:
    value = fabs(value);
% elif only_flip_phases:
    value = value < (real)0 ? (real)-1 : (real)1;
% endif
    value *= c[6];
    if (fabs(value) < 1e-8${f}) value = value < (real)0 ? -1e-8${f} : 1e-8${f};
    out[(long)i * n_list + j] = ${"value * value" if squared else "value"};
}
