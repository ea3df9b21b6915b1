<%doc>
Sums of weights in [0, 1] as integers of 64 bits, units of 2^-42, so that the order of additions
does not matter and nothing is lost beside large sums. Two words of 32 bits with a carry: core
OpenCL 1.2 on every device.

    add_weight(target, weight, coarser)     target: uint2 (low, high); at most 2^22 weights of 1;
                                            weights are rounded to multiples of 2^coarser units

Reference: tests/reference/direction_sums.py. Local memory: none.
</%doc>
<%include file="/common/types.cl.mako"/>
#ifndef CLRELION_WEIGHT_SUM
#define CLRELION_WEIGHT_SUM
static inline void add_weight(volatile __global uint* target, const real weight, const uint coarser)
{
    const real scaled = weight * (real)1024;
    const real whole = floor(scaled);
    const uint most = 0xffffffffu >> coarser;
    const real multiples = (scaled - whole) * ((real)4294967296.0f / (real)(1u << coarser));
    const uint low = min(convert_uint_sat_rte(multiples), most) << coarser;
    const uint before = atomic_add(target, low);
    const uint carry = before + low < before;
    const uint high = (uint)whole + carry;
    if (high) atomic_add(target + 1, high);
}
#endif
