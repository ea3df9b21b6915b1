/* repair_hermitian: complete the plane x = 0 of back-projection sums.
 *
 *   D(0, y, z) <- D(0, y, z) + conj D(0, -y, -z),   W likewise; the origin is left alone
 * Specification M 1.3.
 *
 * volume real4 (re, im, weight, 0), centred half array [edge][edge][nx] from element start, changed
 * Grid: (edge^2 - 1)/2 pairs, rounded up. Local memory: none. Order of sums: none.
 * Reference: tests/reference/volume_sums.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void repair_hermitian(
    __global real4* restrict volume, const long start, const int edge, const int nx)
{
    const long i = (long)get_global_id(0);
    const long n = (long)edge * edge;
    if (i >= n / 2) return;
    __global real4* one = volume + start + i * nx;
    __global real4* other = volume + start + (n - 1 - i) * nx;
    const real4 a = *one, b = *other;
    const real4 sum = (real4)(a.x + b.x, a.y - b.y, a.z + b.z, (real)0);
    *one = sum;
    *other = (real4)(sum.x, -sum.y, sum.z, (real)0);
}
