/* scale_transforms: multiply the transforms of all images by one real factor a pixel, in place.
 *
 *   transforms[i][p] *= factor[p]
 * factor brings the images to the mean response of the detectors (MTF). Specification E 2.10.
 *
 * transforms real2 [n_images][n_pixels], read and written;  factor real [n_pixels], read
 * Local memory: none. Order of sums: none.
 * Reference: tests/reference/scale_transforms.py
 */
<%include file="/common/types.cl.mako"/>

__kernel void scale_transforms(
    __global real2* restrict transforms, __global const real* restrict factor,
    const int n_pixels, const int n_images)
{
    const int p = get_global_id(0);
    const int i = get_global_id(1);
    if (p >= n_pixels || i >= n_images) return;
    transforms[(long)i * n_pixels + p] *= factor[p];
}
