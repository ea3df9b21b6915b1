/* divide_volume_vector: divide_volume for CPUs, one work-item a plane, four voxels of a row at a time.
 *
 *   block(x) = D(x) / max(regularised weight, floor),   (prior, floor) = factors[|x|^2]
 * for |x|^2 <= squared_radius, 0 beyond; D itself where the divisor is 0
 * Specification M 2.1, 2.2a.
 *
 * Arguments as in divide_volume.
 * Grid: n_planes. Local memory: none. Order of sums: none.
 * Reference: tests/reference/divide_volume.py
 */
<%include file="/common/regularised_weight.cl.mako"/>
<%include file="/common/shell_runs.cl.mako"/>

__kernel void divide_volume_vector(
    __global const real4* restrict volume, const long start, const int edge, const int nx,
    const int squared_radius, __global const real2* restrict factors, const int first_plane,
    const int n_planes, const int first_row, const int n_rows, const int first_x,
    const int n_columns, __global real2* restrict block)
{
    const int plane = get_global_id(0), centre = edge / 2;
    const int z = first_plane + plane - (first_plane + plane >= centre ? n_planes : 0);
    for (int row = 0; row < n_rows; row++) {
        const int y = first_row + row, rest = z * z + y * y;
        __global real2* out = block + ((long)plane * n_rows + row) * n_columns;
        int n = 0;
        if (rest <= squared_radius)
            n = clamp(first_column(squared_radius - rest + 1, nx) - first_x, 0, n_columns);
        __global const real4* v
            = volume + start + ((long)(z + centre) * edge + y + centre) * nx + first_x;
        int i = 0;
        for (; i + 4 <= n; i += 4) {
            const real16 four = vload16(0, (__global const real*)(v + i));
            const real4 weight = four.s26ae;
            const int x = first_x + i;
            __global const real2* f = factors + rest + x * x;
            const real2 f0 = f[0], f1 = f[2 * x + 1], f2 = f[4 * x + 4], f3 = f[6 * x + 9];
            const real4 prior = (real4)(f0.x, f1.x, f2.x, f3.x);
            real4 regularised = weight + prior;
            if (any(prior < (real4)0)) {
                regularised.x = regularised_weight(weight.x, prior.x);
                regularised.y = regularised_weight(weight.y, prior.y);
                regularised.z = regularised_weight(weight.z, prior.z);
                regularised.w = regularised_weight(weight.w, prior.w);
            }
            real4 divisor = fmax(regularised, (real4)(f0.y, f1.y, f2.y, f3.y));
            divisor = select(divisor, (real4)1, divisor == (real4)0);
            const real4 re = four.s048c / divisor, im = four.s159d / divisor;
            vstore8((real8)(re.x, im.x, re.y, im.y, re.z, im.z, re.w, im.w), 0,
                    (__global real*)(out + i));
        }
        for (; i < n; i++) {
            const int x = first_x + i;
            const real2 f = factors[rest + x * x];
            const real divisor = fmax(regularised_weight(v[i].z, f.x), f.y);
            out[i] = divisor == (real)0 ? v[i].xy : v[i].xy / divisor;
        }
        for (; i < n_columns; i++) out[i] = (real2)((real)0);
    }
}
