/* kept_counts: number of significant translations of each kept row, in the order of the kept rows.
 *
 * For rows n with row_count[n] > 0, k = kept_before[n]:
 *   counts[place[k]] = row_count[n],  or counts[k] where place is null.  Specification E 5.6.
 *
 * row_count int [n_rows], kept_before int [n_rows + 1]; place int [kept rows] or null, read
 * counts int [kept rows], write
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/kept_counts.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void kept_counts(
    __global const int* restrict row_count, __global const int* restrict kept_before,
    __global const int* restrict place, const int n_rows, __global int* restrict counts)
{
    const int n = get_global_id(0);
    if (n >= n_rows || row_count[n] == 0) return;
    const int k = kept_before[n];
    counts[place ? place[k] : k] = row_count[n];
}
