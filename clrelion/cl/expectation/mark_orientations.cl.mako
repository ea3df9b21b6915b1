/* mark_orientations: which coarse orientations occur in the lists of a batch.
 *
 *   flags[(entry_class[e] * n_dir + entry_dir[e]) * n_psi + entry_psi[e]] = 1,  e < n_entries
 * Flags of orientations that do not occur stay. Specification E 5.4 (local searches).
 *
 * entry_class, entry_dir, entry_psi int [n_entries], read
 * flags int [classes * n_dir * n_psi], write
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/mark_orientations.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void mark_orientations(
    __global const int* restrict entry_class, __global const int* restrict entry_dir,
    __global const int* restrict entry_psi, const int n_entries, const int n_dir,
    const int n_psi, __global int* restrict flags)
{
    const int e = get_global_id(0);
    if (e >= n_entries) return;
    flags[(entry_class[e] * n_dir + entry_dir[e]) * n_psi + entry_psi[e]] = 1;
}
