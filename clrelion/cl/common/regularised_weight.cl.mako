<%doc>
The weight of a voxel with the prior (Specification M 2.1).

    regularised_weight(weight, r2, squared_radius, bounds, priors, n_shells, per_shell)

    0 where r2 > squared_radius; else, with prior = priors[shell of r2]:
    weight + prior;  prior -1 (a shell without power): weight + 1/(0.001 weight) if above 1e-20

Shells as in common/shell_runs; the last one holds what is not regularised, with prior 0.
Template parameters: real, double_precision. Reference: tests/reference/divide_volume.py.
Local memory: none.
</%doc>
<%include file="/common/shell_runs.cl.mako"/>
static inline real regularised_weight(
    const real weight, const int r2, const int squared_radius, __global const int* restrict bounds,
    __global const real* restrict priors, const int n_shells, const float per_shell)
{
    if (r2 > squared_radius) return (real)0;
    const real prior = priors[shell_of(r2, bounds, n_shells, per_shell)];
    if (prior >= (real)0) return weight + prior;
    return weight > REAL(1e-20) ? weight + (real)1 / (REAL(0.001) * weight) : weight;
}
