/* count_images: number of images of each orientation.
 *
 *   counts[o] = number of bits in marks[o],  flags[o] = 1 if there are any, else 0
 * Specification E 5.6.
 *
 * marks uint [n_orientations][n_words], read
 * counts, flags int [n_orientations], write
 * Local memory: none. Order of sums: integers.
 * Reference: tests/reference/count_images.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void count_images(
    __global const uint* restrict marks, const int n_orientations, const int n_words,
    __global int* restrict counts, __global int* restrict flags)
{
    const int o = get_global_id(0);
    if (o >= n_orientations) return;
    int count = 0;
    for (int w = 0; w < n_words; w++) count += (int)popcount(marks[(long)o * n_words + w]);
    counts[o] = count;
    flags[o] = count > 0;
}
