/* add_volume: add one set of back-projection sums to another.
 *
 *   target[i] += source[i],   0 <= i < n
 * Specification M 4.1.
 *
 * target, source real4; they begin at target_start and source_start; target is changed
 * Grid: n, rounded up. Local memory: none. Order of sums: none.
 * Reference: tests/reference/volume_sums.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void add_volume(
    __global real4* target, const long target_start, __global const real4* source,
    const long source_start, const long n)
{
    const long i = (long)get_global_id(0);
    if (i < n) target[target_start + i] += source[source_start + i];
}
