<%doc>
The weight of a voxel with the prior of its shell (Specification M 2.1).

    regularised_weight(weight, prior)

    weight + prior;  prior -1 (a shell without power): weight + 1/(0.001 weight) if above 1e-20

Template parameters: real, double_precision. Reference: tests/reference/divide_volume.py.
Local memory: none.
</%doc>
<%include file="/common/types.cl.mako"/>
static inline real regularised_weight(const real weight, const real prior)
{
    if (prior >= (real)0) return weight + prior;
    return weight > REAL(1e-20) ? weight + (real)1 / (REAL(0.001) * weight) : weight;
}
