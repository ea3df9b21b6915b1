<%doc>
Set a large array to zero: drivers' own fills fail beyond some gigabytes (NVIDIA's, at 16 GB).

    target[i] = 0,   0 <= i < n

name     type   shape  unit  access
target   uint4  (n,)   any   write
n        long   scalar       pieces of 16 bytes
Template parameters: none. Local memory: none. Grid: n rounded up.
Reference: tests/reference/device.py clear_array.
</%doc>
__kernel void clear_array(__global uint4 *target, const long n)
{
    const long i = (long)get_global_id(0);
    if (i < n)
        target[i] = (uint4)(0);
}
