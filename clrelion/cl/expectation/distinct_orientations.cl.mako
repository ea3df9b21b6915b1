/* distinct_orientations: the marked orientations as a list, in ascending order.
 *
 * Marked orientation o = (class * n_dir + dir) * n_psi + psi is number slot_of[o] of the list.
 * Specification E 5.4 (local searches).
 *
 * flags int [n_all], slot_of int [n_all] (prefix sums of the flags), read
 * out_class, out_dir, out_psi int [marked], write
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/distinct_orientations.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void distinct_orientations(
    __global const int* restrict flags, __global const int* restrict slot_of, const int n_all,
    const int n_dir, const int n_psi, __global int* restrict out_class,
    __global int* restrict out_dir, __global int* restrict out_psi)
{
    const int o = get_global_id(0);
    if (o >= n_all || !flags[o]) return;
    const int slot = slot_of[o];
    out_class[slot] = o / n_psi / n_dir;
    out_dir[slot] = o / n_psi % n_dir;
    out_psi[slot] = o % n_psi;
}
