<%doc>
Long sums in more than single precision: double where the device has it, else a float and what its
additions lost.

    wide sum = WIDE_ZERO;  wide_add(&sum, value);  out[i] = sum;

Template parameters: real, double_precision, and
    wide   "double", or "pair" (float2: sum, compensation; the value is their sum)
Reference: tests/reference/shell_runs.py. Local memory: none.
</%doc>
<%include file="/common/types.cl.mako"/>
#ifndef CLRELION_WIDE_SUM
#define CLRELION_WIDE_SUM
% if wide == "double":
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
typedef double wide;
#define WIDE_ZERO 0.0

static inline void wide_add(wide* sum, const double value)
{
    *sum += value;
}
% else:
typedef float2 wide;
#define WIDE_ZERO (float2)(0.0f, 0.0f)

static inline void wide_add(wide* sum, const float value)
{
    const float total = sum->x + value;
    const float part = total - sum->x;
    sum->y += (sum->x - (total - part)) + (value - part);
    sum->x = total;
}
% endif
#endif
