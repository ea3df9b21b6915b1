<%doc>
The weight at which the running sum over the largest weights first exceeds a given part of the
total (Specification E 5.5), by bisection on the bits of non-negative reals: exact, needs no sort.

    threshold_of_fraction(weights, n, goal, scratch)
        largest x with  sum of weights >= x  greater than goal  (0 if goal >= total)
    threshold_of_count(weights, n, count, scratch)
        largest x with at least `count` weights >= x  (0 if there are fewer)

Every work-item of the (one-dimensional) work-group must call them; all receive the result.
scratch: __local, one real / int a work-item. Weights must be finite, >= 0 and <= 1.
Template parameters: real, double_precision; wg = 1 as in common/reduce. Reference:
tests/reference/threshold.py.
</%doc>
<%include file="/common/types.cl.mako"/>
<%include file="/common/reduce.cl.mako"/>
#ifndef CLRELION_THRESHOLD
#define CLRELION_THRESHOLD
% if double_precision:
#define BITS ulong
#define BITS_AS_REAL as_double
#define BITS_OF_ONE as_ulong(1.0)
% else:
#define BITS uint
#define BITS_AS_REAL as_float
#define BITS_OF_ONE as_uint(1.0f)
% endif

GROUP_FUNCTION real threshold_of_fraction(
    __global const real* weights, const long n, const real goal, __local real* scratch)
{
    BITS low = 0, high = BITS_OF_ONE + 1;
    while (high - low > 1) {
        const BITS middle = low + (high - low) / 2;
        const real x = BITS_AS_REAL(middle);
        real sum = (real)0;
% if context.get("wg", 0) == 1:
        /* one work-item: eight running sums instead of the work-group's */
        real8 sums = (real8)((real)0);
        long s = 0;
        for (; s + 8 <= n; s += 8) {
            const real8 w = vload8(0, weights + s);
            sums += select((real8)((real)0), w, w >= x);
        }
        for (; s < n; s++) sum += weights[s] >= x ? weights[s] : (real)0;
        const real4 quarter = sums.lo + sums.hi;
        sum += (quarter.x + quarter.z) + (quarter.y + quarter.w);
% else:
        for (long s = get_local_id(0); s < n; s += get_local_size(0)) {
            const real w = weights[s];
            sum += w >= x ? w : (real)0;
        }
% endif
        sum = group_sum(sum, scratch);
        if (sum > goal) low = middle; else high = middle;
    }
    return BITS_AS_REAL(low);
}

GROUP_FUNCTION real threshold_of_count(
    __global const real* weights, const long n, const int count, __local int* scratch)
{
    BITS low = 0, high = BITS_OF_ONE + 1;
    while (high - low > 1) {
        const BITS middle = low + (high - low) / 2;
        const real x = BITS_AS_REAL(middle);
        int found = 0;
        for (long s = get_local_id(0); s < n; s += get_local_size(0)) found += weights[s] >= x;
        found = group_sum_int(found, scratch);
        if (found >= count) low = middle; else high = middle;
    }
    return BITS_AS_REAL(low);
}
#endif
