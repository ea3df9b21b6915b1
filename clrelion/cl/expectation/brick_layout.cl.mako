/* brick_layout: the references once more, stored brick by brick, for slices of orientations that are near each other.
 *
 * bricks[k][place of (x, y, z)] = reference[k][z][y][x], 0 where the last bricks go beyond it
 * (Specification E 1.6: the transform is sampled between its voxels; common/bricks has the places).
 *
 * reference  real2 [classes][edge][edge][nx], read
 * bricks     real2 [classes][n_z bricks][n_y][n_x][voxels of a brick], write; n_z as many as edge needs
 * Template parameter brick: voxels of a brick along x, y, z, powers of two.
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/brick_layout.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/bricks.cl.mako"/>

__kernel void brick_layout(
    __global const real2* restrict reference, const int edge, const int nx, const int n_x,
    const int n_y, const int n_z, const int n_classes, __global real2* restrict bricks)
{
    const int x = get_global_id(0);
    const int y = get_global_id(1);
    const int z = get_global_id(2) % (n_z * ${brick[2]});
    const int k = get_global_id(2) / (n_z * ${brick[2]});
    if (x >= n_x * ${brick[0]} || y >= n_y * ${brick[1]} || k >= n_classes) return;
    const long voxels = (long)n_x * n_y * n_z * ${brick[0] * brick[1] * brick[2]};
    real2 value = (real2)((real)0, (real)0);
    if (x < nx && y < edge && z < edge)
        value = reference[(((long)k * edge + z) * edge + y) * nx + x];
    bricks[k * voxels + brick_x(x) + brick_y(y, n_x) + brick_z(z, n_x, n_y)] = value;
}
