<%doc>
atomic_add_real by inline PTX on NVIDIA; included by atomics.cl.mako.
Template parameters: real, double_precision (f64 needs sm_60).
</%doc>
static inline void atomic_add_real(volatile __global real *target, const real value)
{
% if double_precision:
    asm volatile("red.global.add.f64 [%0], %1;" :: "l"(target), "d"(value) : "memory");
% else:
    asm volatile("red.global.add.f32 [%0], %1;" :: "l"(target), "f"(value) : "memory");
% endif
}
