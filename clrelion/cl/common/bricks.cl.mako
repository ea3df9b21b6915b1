<%doc>
Where a voxel is in a volume that is stored brick by brick, the voxels of a brick next to each other:

    brick_x(x) + brick_y(y, n_x) + brick_z(z, n_x, n_y)     x fastest, bricks and voxels in them

n_x, n_y: bricks along x and y. Neighbours of a point, wherever it is, are then in few cache lines.
Template parameter: brick, voxels of a brick along x, y, z, powers of two.
Reference: tests/reference/brick_layout.py. Local memory: none.
</%doc>
<% bx, by, bz = brick %>\

static inline int brick_x(const int x)
{
    return (int)((uint)x / ${bx} * ${bx * by * bz} + (uint)x % ${bx});
}

static inline int brick_y(const int y, const int n_x)
{
    return (int)((uint)y / ${by} * ${bx * by * bz} * (uint)n_x + (uint)y % ${by} * ${bx});
}

static inline int brick_z(const int z, const int n_x, const int n_y)
{
    return (int)((uint)z / ${bz} * ${bx * by * bz} * (uint)n_x * (uint)n_y + (uint)z % ${bz} * ${bx * by});
}
