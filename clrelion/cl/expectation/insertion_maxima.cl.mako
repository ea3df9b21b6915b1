/* insertion_maxima: the largest value and weight that each image brings to the back-projection.
 *
 *   maxima[i] = (max_j |bp_data_ij U_ij|, max_j bp_weight_ij) over the pixels with bp_weight > 0
 * One work-group of ${wg} an image. They bound the sums, whatever orientations the image goes to
 * (Specification E 1.11: the trilinear shares and the posterior weights add up to one).
 *
 * unmasked_ft real2 [images][n_list] (U), bp_data, bp_weight real [images][n_list], read
 * maxima real2 [images], write
 * Local memory: ${wg} reals. Order of sums: none.
 * Reference: tests/reference/insertion_maxima.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/reduce.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${wg}, 1, 1)))
void insertion_maxima(
    __global const real2* restrict unmasked_ft, __global const real* restrict bp_data,
    __global const real* restrict bp_weight, const int n_list, __global real2* restrict maxima)
{
    __local real scratch[${wg}];
    const int i = get_group_id(0);
    real largest = (real)0, heaviest = (real)0;
    for (int j = get_local_id(0); j < n_list; j += ${wg}) {
        const long p = (long)i * n_list + j;
        const real weight = bp_weight[p];
        if (weight > (real)0) {
            largest = fmax(largest, length(bp_data[p] * unmasked_ft[p]));
            heaviest = fmax(heaviest, weight);
        }
    }
    largest = group_max(largest, scratch);
    heaviest = group_max(heaviest, scratch);
    if (get_local_id(0) == 0) maxima[i] = (real2)(largest, heaviest);
}
