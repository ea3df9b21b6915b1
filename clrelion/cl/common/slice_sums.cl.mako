<%doc>
What one pixel of one image adds to the weighted sums for one kept row (Specification E 5.6):

    phase_sum(...)   s_j = sum over the row's significant translations of omega S_tj, the weighted
                     phase ramp that the masked and the unmasked image share

Template parameters: real, double_precision. Reference: tests/reference/weighted_sums.py.
</%doc>
<%include file="/common/types.cl.mako"/>

static inline real2 phase_sum(
    __global const int* restrict entry_trans, __global const real* restrict entry_omega,
    const int first, const int last, __global const real2* restrict ramp_x,
    __global const real2* restrict ramp_y, const int n_kx, const int n_ky, const int kx,
    const int row_y)
{
    real2 s = (real2)((real)0, (real)0);
    for (int u = first; u < last; u++) {
        const int t = entry_trans[u];
        s += entry_omega[u] * complex_multiply(ramp_x[t * n_kx + kx], ramp_y[t * n_ky + row_y]);
    }
    return s;
}
