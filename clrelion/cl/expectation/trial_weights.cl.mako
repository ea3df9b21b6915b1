/* trial_weights: what the pixels of trial particles count, by CTF and noise.
 *
 *   out[i][j] = ctf[i][subset[j]]^2 factor[j]   for j < n_pixels, else 0
 * Specification E C.3.
 *
 * ctf    real [n_images][n_list], read
 * subset int [n_pixels], place of each pixel in a row of ctf, read
 * factor real [n_pixels], read
 * out    real [n_images][n_padded], write
 * Grid: (n_padded, n_images). Local memory: none. Order of sums: none.
 * Reference: tests/reference/slice_differences.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void trial_weights(
    __global const real* restrict ctf, __global const int* restrict subset,
    __global const real* restrict factor, const int n_images, const int n_list,
    const int n_pixels, const int n_padded, __global real* restrict out)
{
    const int j = get_global_id(0), i = get_global_id(1);
    if (j >= n_padded || i >= n_images) return;
    real weight = (real)0;
    if (j < n_pixels) {
        const real c = ctf[(long)i * n_list + subset[j]];
        weight = c * c * factor[j];
    }
    out[(long)i * n_padded + j] = weight;
}
