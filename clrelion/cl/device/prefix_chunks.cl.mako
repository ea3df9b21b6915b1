/* prefix_chunks: exclusive prefix sums of an int array, given those of its chunks.
 *
 *   out[i] = values[0] + ... + values[i - 1],  0 <= i <= n
 * One work-group of ${wg} a chunk, whose sum begins with chunk_start (the prefix sums of
 * sum_chunks; 0 if there is one chunk and chunk_start is null).
 *
 * values int [n], chunk_start int [chunks] or null, read; out int [n + 1], write
 * Local memory: ${wg} ints. Order of sums: integers.
 * Reference: tests/reference/prefix_sums.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/reduce.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${wg}, 1, 1)))
void prefix_chunks(
    __global const int* restrict values, __global const int* restrict chunk_start, const int n,
    const int chunk, __global int* restrict out)
{
    __local int scratch[${wg}];
    const int c = get_group_id(0);
    const int lid = get_local_id(0);
    const int last = min((c + 1) * chunk, n);
    int sum = chunk_start ? chunk_start[c] : 0;
    for (int first = c * chunk; first < last; first += ${wg}) {
        const int i = first + lid;
        const int value = i < last ? values[i] : 0;
        int total;
        const int before = group_exclusive_sum_int(value, scratch, &total);
        if (i < last) out[i] = sum + before;
        sum += total;
    }
    if (lid == 0 && last == n) out[n] = sum;
}
