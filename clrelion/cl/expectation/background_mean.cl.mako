/* background_mean: weighted mean of each image outside the particle mask.
 *
 *   mean[i] = sum_p outside[p] images[i][p] / sum_p outside[p]      (0 if nothing is outside)
 * outside = 0 within the mask radius, raised cosine on its edge, 1 beyond (Specification E 5.2.5).
 * One work-group of ${wg} an image.
 *
 * images real [n][n_pixels], outside real [n_pixels], read;  mean real [n], write
 * Local memory: ${wg} reals. Order of sums: strided, then a pairwise tree.
 * Reference: tests/reference/background_mean.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/reduce.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${wg}, 1, 1)))
void background_mean(
    __global const real* restrict images, __global const real* restrict outside,
    const int n_pixels, __global real* restrict mean)
{
    __local real scratch[${wg}];
    const int i = get_group_id(0);
    __global const real* image = images + (long)i * n_pixels;
    real sum = (real)0, weight = (real)0;
    for (int p = get_local_id(0); p < n_pixels; p += ${wg}) {
        sum = fma(outside[p], image[p], sum);
        weight += outside[p];
    }
    sum = group_sum(sum, scratch);
    weight = group_sum(weight, scratch);
    if (get_local_id(0) == 0) mean[i] = weight > (real)0 ? sum / weight : (real)0;
}
