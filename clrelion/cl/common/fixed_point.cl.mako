<%doc>
Sums in global memory as 64-bit whole numbers: unlike floats they add up to the same in any order.

    fixed_add(target, value)     target[0] += value (long), atomically

Template parameters:
    integer_atomics   long    atom_add of cl_khr_int64_base_atomics
                      carry   an addition to the lower 32 bits, then one of the rest and the carry to
                              the upper ones: needs no more than OpenCL 1.1
Sums wrap around: the caller sees to it that they stay within 63 bits.
Reference: numpy.add.at (tests/reference/common.py). Local memory: none.
</%doc>
#ifndef CLRELION_FIXED_POINT
#define CLRELION_FIXED_POINT
% if integer_atomics == "long":
#pragma OPENCL EXTENSION cl_khr_int64_base_atomics : enable

static inline void fixed_add(volatile __global long *target, const long value)
{
    atom_add(target, value);
}
% else:
#ifdef __ENDIAN_LITTLE__
#define FIXED_LOW 0
#else
#define FIXED_LOW 1
#endif

static inline void fixed_add(volatile __global long *target, const long value)
{
    volatile __global uint *words = (volatile __global uint *)target;
    const uint low = (uint)value;
    /* the additions to the lower word come in some order; whatever it is, as many of them wrap
     * around as the sum of the lower words has carries */
    const uint before = atomic_add(words + FIXED_LOW, low);
    const uint carry = before + low < low ? 1u : 0u;
    const uint high = (uint)(value >> 32) + carry;
    if (high != 0u) atomic_add(words + 1 - FIXED_LOW, high);
}
% endif
#endif
