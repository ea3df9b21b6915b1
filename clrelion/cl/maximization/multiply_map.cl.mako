/* multiply_map: multiply a map by a mask.
 *
 *   volume[i] <- volume[i] mask[i],   0 <= i < n
 * Specification M 4.4 (solvent flattening).
 *
 * volume real [n], changed; mask real [n], read
 * Grid: n, rounded up. Local memory: none. Order of sums: none.
 * Reference: tests/reference/map_kernels.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void multiply_map(
    __global real* restrict volume, __global const real* restrict mask, const long n)
{
    const long i = (long)get_global_id(0);
    if (i < n) volume[i] *= mask[i];
}
