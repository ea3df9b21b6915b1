<%doc>
Atomic addition of real numbers in global memory, by the path that the device was found to have.

    atomic_add_real(target, value)       target[0] += value
    atomic_add_real4(target, value)      target[0..3] += value; target aligned to 4 reals

Template parameters: real, double_precision and
    float_atomics   ext     cl_ext_float_atomics (needs OpenCL C 3.0)
                    nv_v4   inline PTX red.global.add, four floats in one instruction (sm_90)
                    nv      inline PTX red.global.add
                    amd     __builtin_amdgcn_global_atomic_fadd
                    cas     compare-exchange loop, works everywhere
The order in which concurrent additions happen is not fixed, so sums differ in the last bits from
run to run. Reference: numpy.add.at (tests/reference/common.py). Local memory: none.
</%doc>
<%include file="/common/types.cl.mako"/>
#ifndef CLRELION_ATOMICS
#define CLRELION_ATOMICS
% if float_atomics == "ext":
<%include file="/common/atomics_ext.cl.mako"/>
% elif float_atomics in ("nv", "nv_v4"):
<%include file="/common/atomics_nv.cl.mako"/>
% elif float_atomics == "amd":
<%include file="/common/atomics_amd.cl.mako"/>
% else:
<%include file="/common/atomics_cas.cl.mako"/>
% endif

static inline void atomic_add_real4(volatile __global real *target, const real4 value)
{
% if float_atomics == "nv_v4" and not double_precision:
    asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};"
                 :: "l"(target), "f"(value.x), "f"(value.y), "f"(value.z), "f"(value.w)
                 : "memory");
% else:
    atomic_add_real(target, value.x);
    atomic_add_real(target + 1, value.y);
    atomic_add_real(target + 2, value.z);
    atomic_add_real(target + 3, value.w);
% endif
}
#endif
