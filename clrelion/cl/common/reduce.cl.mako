<%doc>
Reductions over the work-items of a (one-dimensional) work-group, any work-group size.

    group_sum(value, scratch)                    sum; pairwise tree of fixed order (deterministic)
    group_max(value, scratch), group_min(...)    extremes
    group_argmin(&value, &index, scratch, index_scratch)   smallest value; ties: smallest index
    group_sum_int(value, scratch)                sum of ints
    group_exclusive_sum_int(value, scratch, &total)        prefix sum, this item excluded

Every work-item must call them, and all receive the result. scratch: __local, one element a
work-item (get_local_size(0)). The scratch may be used again at once after return.
Template parameters: real, double_precision; wg = 1 (optional) promises work-groups of one item,
which need no barriers: CPUs compile such kernels many times faster. Reference:
tests/reference/common.py.
</%doc>
<%include file="/common/types.cl.mako"/>
#ifndef CLRELION_REDUCE
#define CLRELION_REDUCE
<% single_item = context.get("wg", 0) == 1 %>
/* Functions that take local memory are inlined without exception: where one stays a function of
 * its own, PoCL 3.1 replaces the pointer by the kernel's array and all work-groups share it. */
#define GROUP_FUNCTION static inline __attribute__((always_inline))
<%def name="tree(function, type, combine)">
GROUP_FUNCTION ${type} ${function}(const ${type} value, __local ${type} *scratch)
{
    const int item = (int)get_local_id(0);
    int n = (int)get_local_size(0);
    scratch[item] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    while (n > 1) {
        const int half_n = (n + 1) / 2;
        if (item < n / 2) {
            const ${type} other = scratch[item + half_n];
            const ${type} mine = scratch[item];
            scratch[item] = ${combine};
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        n = half_n;
    }
    const ${type} result = scratch[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return result;
}
</%def>
% if single_item:
GROUP_FUNCTION real group_sum(const real value, __local real *scratch) { return value; }
GROUP_FUNCTION real group_max(const real value, __local real *scratch) { return value; }
GROUP_FUNCTION real group_min(const real value, __local real *scratch) { return value; }
GROUP_FUNCTION int group_sum_int(const int value, __local int *scratch) { return value; }
GROUP_FUNCTION void group_argmin(
    real *value, int *index, __local real *scratch, __local int *index_scratch)
{
}
GROUP_FUNCTION int group_exclusive_sum_int(const int value, __local int *scratch, int *total)
{
    *total = value;
    return 0;
}
% else:
${tree("group_sum", "real", "mine + other")}
${tree("group_max", "real", "fmax(mine, other)")}
${tree("group_min", "real", "fmin(mine, other)")}
${tree("group_sum_int", "int", "mine + other")}

GROUP_FUNCTION void group_argmin(real *value, int *index, __local real *scratch, __local int *index_scratch)
{
    const int item = (int)get_local_id(0);
    int n = (int)get_local_size(0);
    scratch[item] = *value;
    index_scratch[item] = *index;
    barrier(CLK_LOCAL_MEM_FENCE);
    while (n > 1) {
        const int half_n = (n + 1) / 2;
        if (item < n / 2) {
            const real other = scratch[item + half_n];
            const int other_index = index_scratch[item + half_n];
            if (other < scratch[item]
                || (other == scratch[item] && other_index < index_scratch[item])) {
                scratch[item] = other;
                index_scratch[item] = other_index;
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        n = half_n;
    }
    *value = scratch[0];
    *index = index_scratch[0];
    barrier(CLK_LOCAL_MEM_FENCE);
}

GROUP_FUNCTION int group_exclusive_sum_int(const int value, __local int *scratch, int *total)
{
    const int item = (int)get_local_id(0);
    const int n = (int)get_local_size(0);
    scratch[item] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int step = 1; step < n; step *= 2) {
        const int left = item >= step ? scratch[item - step] : 0;
        barrier(CLK_LOCAL_MEM_FENCE);
        scratch[item] += left;
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    const int inclusive = scratch[item];
    *total = scratch[n - 1];
    barrier(CLK_LOCAL_MEM_FENCE);
    return inclusive - value;
}
% endif
#endif
