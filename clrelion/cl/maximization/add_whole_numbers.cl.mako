/* add_whole_numbers: add back-projection sums of another rank, exactly.
 *
 *   target[target_start + i] += source[i],   0 <= i < n
 * Specification M 4.1.
 *
 * target, source long; target is changed
 * Grid: n, rounded up. Local memory: none. Order of sums: none.
 * Reference: tests/reference/volume_sums.py
 */
__kernel void add_whole_numbers(
    __global long* target, const long target_start, __global const long* source, const long n)
{
    const long i = (long)get_global_id(0);
    if (i < n) target[target_start + i] += source[i];
}
