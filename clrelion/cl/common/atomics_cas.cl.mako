<%doc>
atomic_add_real by a compare-exchange loop; included by atomics.cl.mako.
Template parameters: real, double_precision (double needs cl_khr_int64_base_atomics).
</%doc>
% if double_precision:
#pragma OPENCL EXTENSION cl_khr_int64_base_atomics : enable
% endif

static inline void atomic_add_real(volatile __global real *target, const real value)
{
% if double_precision:
    volatile __global ulong *bits = (volatile __global ulong *)target;
    ulong expected = *bits;
    ulong found;
    while ((found = atom_cmpxchg(bits, expected, as_ulong(as_double(expected) + value)))
           != expected)
        expected = found;
% else:
    volatile __global uint *bits = (volatile __global uint *)target;
    uint expected = *bits;
    uint found;
    while ((found = atomic_cmpxchg(bits, expected, as_uint(as_float(expected) + value)))
           != expected)
        expected = found;
% endif
}
