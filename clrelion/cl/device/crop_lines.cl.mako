<%doc>
Take the wanted samples out of a run of transformed lines: the last step of `line_fft` for libraries
that transform whole, contiguous lines.

    target[o, k, i] = scale padded[l, (first_out + k) mod N],   line first_line + l = o n_inner + i

name          type          shape         unit  access
padded        real2         (count, N)          read
target        real2 (real)  any                 write; a sample lies at start + o outer + k step + i
scale         real          scalar
Template parameters: real, double_precision, real_output (target is real: the real part).
Local memory: none. Grid: count n rounded up.
Reference: tests/reference/line_fft.py
</%doc>
<%include file="/common/types.cl.mako"/>
__kernel void crop_lines(
    __global const real2* restrict padded, __global ${"real" if real_output else "real2"}* restrict target,
    const long start, const long outer_step, const long step, const int first, const int n,
    const int n_inner, const long first_line, const int count, const int length,
    const real scale)
{
    const long i = (long)get_global_id(0);
    if (i >= (long)count * n) return;
    /* neighbouring work-items: neighbouring samples where those lie together, else lines */
    const long line = step == 1 ? i / n : i % count;
    const int s = (int)(step == 1 ? i - line * n : i / count);
    int place = first + s;
    place += place < 0 ? length : 0;
    place -= place >= length ? length : 0;
    const long outer = (first_line + line) / n_inner;
    const long to = start + outer * outer_step + s * step + first_line + line - outer * n_inner;
    const real2 value = scale * padded[line * length + place];
    target[to] = value${".x" if real_output else ""};
}
