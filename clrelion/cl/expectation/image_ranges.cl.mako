/* image_ranges: the entries of each image's list whose slices lie in a run of slices.
 *
 * Image i has the entries e from prior_base[i] on, n_orientations[i] of them; entry e needs slice
 * s = slot_of[(entry_class[e] * n_dir + entry_dir[e]) * n_psi + entry_psi[e]], or s = e where
 * slot_of is null; s ascends within an image.
 *   first[i] = number of its entries with s < first_slot
 *   count[i] = number of those with first_slot <= s < last_slot
 *   n_blocks[i] = count[i] / rows_per_block, rounded up
 * Specification E 5.4 (local searches).
 *
 * n_orientations, prior_base int [images]; entry_class, entry_dir, entry_psi int; slot_of int or
 * null, read; first, count, n_blocks int [images], write
 * Local memory: none. Order of sums: integers.
 * Reference: tests/reference/image_ranges.py
 */
<%include file="/common/types.cl.mako"/>

static inline int entries_before(
    __global const int* entry_class, __global const int* entry_dir, __global const int* entry_psi,
    __global const int* slot_of, const int n_dir, const int n_psi, const int base, const int n,
    const int slot)
{
    int low = 0, high = n; /* entries before low are below the slot, those from high on are not */
    while (low < high) {
        const int middle = (low + high) / 2, e = base + middle;
        const int s = slot_of
            ? slot_of[(entry_class[e] * n_dir + entry_dir[e]) * n_psi + entry_psi[e]] : e;
        if (s < slot) low = middle + 1; else high = middle;
    }
    return low;
}

__kernel void image_ranges(
    __global const int* restrict n_orientations, __global const int* restrict prior_base,
    __global const int* restrict entry_class, __global const int* restrict entry_dir,
    __global const int* restrict entry_psi, __global const int* restrict slot_of,
    const int n_dir, const int n_psi, const int first_slot, const int last_slot,
    const int rows_per_block, const int n_images, __global int* restrict first,
    __global int* restrict count, __global int* restrict n_blocks)
{
    const int i = get_global_id(0);
    if (i >= n_images) return;
    const int base = prior_base[i], n = n_orientations[i];
    const int begin = entries_before(
        entry_class, entry_dir, entry_psi, slot_of, n_dir, n_psi, base, n, first_slot);
    const int end = entries_before(
        entry_class, entry_dir, entry_psi, slot_of, n_dir, n_psi, base, n, last_slot);
    first[i] = begin;
    count[i] = end - begin;
    n_blocks[i] = (end - begin + rows_per_block - 1) / rows_per_block;
}
