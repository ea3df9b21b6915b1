<%doc>
Keep the half transform (kx = 0..box/2) of a chunk of full transforms, and scale it.

    output[first + p, ky, kx] = factor full[p, ky, kx],   kx < half

name     type            shape             unit  access
full     real2           (chunk, box, row)       read; row >= half
output   real2           (.., box, half)         write
first    long            scalar            index of the chunk's first element in output
n        long            scalar            elements to write, a multiple of half
row      int             scalar            length of a row of full
half_n   int             scalar            box / 2 + 1
factor   real            scalar            1 / box^2
Template parameters: real, double_precision. Local memory: none. Grid: n rounded up.
Reference: tests/reference/device.py crop_half_transform.
</%doc>
<%include file="/common/types.cl.mako"/>
__kernel void crop_half_transform(__global const real2 *full, __global real2 *output,
                                  const long first, const long n, const int row,
                                  const int half_n, const real factor)
{
    const long i = (long)get_global_id(0);
    if (i >= n)
        return;
    const long line = i / half_n;
    output[first + i] = factor * full[line * row + (i - line * half_n)];
}
