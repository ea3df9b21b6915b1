/* sum_chunks: sums of the chunks of an int array, the first step of a device-wide prefix sum.
 *
 *   out[c] = sum of values[i], c * chunk <= i < min((c + 1) * chunk, n)
 * One work-group of ${wg} a chunk.
 *
 * values int [n], read; out int [ceil(n / chunk)], write
 * Local memory: ${wg} ints. Order of sums: integers.
 * Reference: tests/reference/prefix_sums.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/reduce.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${wg}, 1, 1)))
void sum_chunks(
    __global const int* restrict values, const int n, const int chunk, __global int* restrict out)
{
    __local int scratch[${wg}];
    const int c = get_group_id(0);
    const int last = min((c + 1) * chunk, n);
    int sum = 0;
    for (int i = c * chunk + (int)get_local_id(0); i < last; i += ${wg}) sum += values[i];
    sum = group_sum_int(sum, scratch);
    if (get_local_id(0) == 0) out[c] = sum;
}
