<%doc>
Sums of weights in [0, 1] as integers of 64 bits, units of 2^-42, so that the order of additions
does not matter and nothing is lost beside large sums. Two words of 32 bits with a carry: core
OpenCL 1.2 on every device.

    add_weight(target, weight)     target: uint2 (low, high); at most 2^22 weights of 1

Reference: tests/reference/direction_sums.py. Local memory: none.
</%doc>
<%include file="/common/types.cl.mako"/>
#ifndef CLRELION_WEIGHT_SUM
#define CLRELION_WEIGHT_SUM
static inline void add_weight(volatile __global uint* target, const real weight)
{
    const real scaled = weight * (real)1024;
    const real whole = floor(scaled);
    const uint low = convert_uint_sat_rte((scaled - whole) * (real)4294967296.0f);
    const uint before = atomic_add(target, low);
    const uint carry = before + low < before;
    const uint high = (uint)whole + carry;
    if (high) atomic_add(target + 1, high);
}
#endif
