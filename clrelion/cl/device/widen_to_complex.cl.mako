<%doc>
Copy a chunk of real images into complex ones, for transforms that know only complex input.

    output[i] = (images[first + i], 0),   0 <= i < n

name     type            shape           unit  access
images   real            (.., box, box)  any   read
output   real2           (chunk, box, box)     write
first    long            scalar          pixel of the first image of the chunk
n        long            scalar          pixels to copy
Template parameters: real, double_precision. Local memory: none. Grid: n rounded up.
Reference: tests/reference/device.py widen_to_complex.
</%doc>
<%include file="/common/types.cl.mako"/>
__kernel void widen_to_complex(__global const real *images, __global real2 *output,
                               const long first, const long n)
{
    const long i = (long)get_global_id(0);
    if (i >= n)
        return;
    output[i] = (real2)(images[first + i], REAL(0));
}
