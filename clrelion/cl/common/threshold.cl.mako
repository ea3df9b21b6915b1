<%doc>
The weight at which the running sum over the largest weights first exceeds a given part of the
total, or at which a given number of them has been added (Specification E 5.5), by bisection on the
bits of non-negative reals: exact, needs no sort.

    significance_threshold(weights, n, goal, count, scratch, counts)
        largest x with  sum of weights >= x  greater than goal,  or, if count > 0, with at least
        count weights >= x;  0 if there is none

Every work-item of the (one-dimensional) work-group must call it; all receive the result.
scratch, counts: __local, one real and one int a work-item. Weights must be finite, in [0, 1].
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

GROUP_FUNCTION real significance_threshold(
    __global const real* weights, const long n, const real goal, const int count,
    __local real* scratch, __local int* counts)
{
    /* both conditions in one search: PoCL compiles a second loop with barriers, or a branch around
     * it, for ten seconds */
    BITS low = 0, high = BITS_OF_ONE + 1;
    while (high - low > 1) {
        const BITS middle = low + (high - low) / 2;
        const real x = BITS_AS_REAL(middle);
        real sum = (real)0;
        int found = 0;
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
        if (count > 0)
            for (s = 0; s < n; s++) found += weights[s] >= x;
% else:
        for (long s = get_local_id(0); s < n; s += get_local_size(0)) {
            const real w = weights[s];
            sum += w >= x ? w : (real)0;
            found += w >= x;
        }
% endif
        sum = group_sum(sum, scratch);
        found = group_sum_int(found, counts);
        if (sum > goal || (count > 0 && found >= count)) low = middle; else high = middle;
    }
    return BITS_AS_REAL(low);
}
#endif
