<%doc>
atomic_add_real by cl_ext_float_atomics; included by atomics.cl.mako. Needs OpenCL C 3.0.
Template parameters: real, double_precision.
</%doc>
% if double_precision:
#pragma OPENCL EXTENSION cl_khr_int64_base_atomics : enable
#pragma OPENCL EXTENSION cl_khr_int64_extended_atomics : enable
% endif

static inline void atomic_add_real(volatile __global real *target, const real value)
{
    atomic_fetch_add_explicit((volatile __global atomic_${real} *)target, value,
                              memory_order_relaxed, memory_scope_device);
}
