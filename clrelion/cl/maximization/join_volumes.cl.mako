/* join_volumes: give two half-sets the mean of their sums within a sphere.
 *
 *   first(x) = second(x) = (first(x) + second(x))/2   for |x|^2 <= squared_radius
 * Specification M 1.5.
 *
 * first, second real4, centred half arrays [edge][edge][nx] from first_start and second_start,
 *     changed
 * Grid: (nx, edge, edge), rounded up in x. Local memory: none. Order of sums: none.
 * Reference: tests/reference/volume_sums.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void join_volumes(
    __global real4* first, const long first_start, __global real4* second,
    const long second_start, const int edge, const int nx, const int squared_radius)
{
    const int x = get_global_id(0), iy = get_global_id(1), iz = get_global_id(2);
    const int y = iy - edge / 2, z = iz - edge / 2;
    if (x >= nx || x * x + y * y + z * z > squared_radius) return;
    const long place = ((long)iz * edge + iy) * nx + x;
    const real4 mean = REAL(0.5) * (first[first_start + place] + second[second_start + place]);
    first[first_start + place] = mean;
    second[second_start + place] = mean;
}
