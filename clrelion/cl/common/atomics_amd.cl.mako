<%doc>
atomic_add_real by AMD's compiler builtin; included by atomics.cl.mako.
Template parameters: real, double_precision. Compilation fails where the builtin is missing.
</%doc>
static inline void atomic_add_real(volatile __global real *target, const real value)
{
<% bits = 64 if double_precision else 32 %>
#if defined(__has_builtin) && __has_builtin(__builtin_amdgcn_global_atomic_fadd_f${bits})
    __builtin_amdgcn_global_atomic_fadd_f${bits}((__global real *)target, value);
#else
#error no builtin for the atomic addition of real numbers
#endif
}
