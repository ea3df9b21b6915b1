<%doc>
Sums over the lanes of a work-group: the work-items (., lane) that share a place of the first
dimension. Lane after lane, in a fixed order.

    lane_sum(value, scratch)    of a wide number; valid in lane 0
    lane_sum_int(value, scratch)

Every work-item must call them. scratch: __local, wide or int, one element a work-item; it may be used
again at once after return.
Template parameters: lanes, the size of the second dimension of the work-group (1: no local memory
is touched), and those of common/wide_sum. Local memory: the caller's. Reference:
tests/reference/shell_runs.py.
</%doc>
<%include file="/common/wide_sum.cl.mako"/>
#ifndef CLRELION_LANE_SUMS
#define CLRELION_LANE_SUMS
#ifndef GROUP_FUNCTION
/* inlined without exception: see common/reduce */
#define GROUP_FUNCTION static inline __attribute__((always_inline))
#endif
<%def name="over_lanes(function, type, combine)">
GROUP_FUNCTION ${type} ${function}(const ${type} value, __local ${type} *scratch)
{
% if lanes == 1:
    return value;
% else:
    const int place = get_local_id(0), width = get_local_size(0);
    scratch[get_local_id(1) * width + place] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    ${type} total = value;
    if (get_local_id(1) == 0)
        for (int lane = 1; lane < ${lanes}; lane++) {
            const ${type} other = scratch[lane * width + place];
            ${combine}
        }
    barrier(CLK_LOCAL_MEM_FENCE);
    return total;
% endif
}
</%def>
% if wide == "double":
${over_lanes("lane_sum", "wide", "total += other;")}
% else:
${over_lanes("lane_sum", "wide", "wide_add(&total, other.x); total.y += other.y;")}
% endif
${over_lanes("lane_sum_int", "int", "total += other;")}
#endif
