/* downsample_volume: back-projection sums averaged over the voxels of each unpadded one.
 *
 *   averages(k) = sum D / sum W over the voxels of bin k, 0 where the weights are not positive
 * Specification M 1.6 A.
 *
 * volume real4 (re, im, weight, 0), centred half array [edge][edge][nx] from element start, read
 * starts int [n + 1], first index of each bin along z and y; half_starts int [n_half + 1], along x
 * averages real2 [n][n][n_half], centred half array, write
 * Grid: (n_half, n, n), rounded up in x. Local memory: none. Order of sums: ascending.
 * Reference: tests/reference/volume_sums.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void downsample_volume(
    __global const real4* restrict volume, const long start, const int edge, const int nx,
    __global const int* restrict starts, __global const int* restrict half_starts, const int n,
    const int n_half, __global real2* restrict averages)
{
    const int kx = get_global_id(0), ky = get_global_id(1), kz = get_global_id(2);
    if (kx >= n_half) return;
    real4 sum = (real4)((real)0);
    for (int iz = starts[kz]; iz < starts[kz + 1]; iz++)
        for (int iy = starts[ky]; iy < starts[ky + 1]; iy++)
            for (int ix = half_starts[kx]; ix < half_starts[kx + 1]; ix++)
                sum += volume[start + ((long)iz * edge + iy) * nx + ix];
    averages[((long)kz * n + ky) * n_half + kx]
        = sum.z > (real)0 ? sum.xy / sum.z : (real2)((real)0);
}
