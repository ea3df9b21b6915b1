<%doc>
Put the given samples of a run of lines at their places in lines of N complex samples, the others
zero: the first step of `line_fft` for libraries that transform whole, contiguous lines.

    padded[l, (first_in + s) mod N] = source[o, s, i],   line first_line + l = o n_inner + i

name          type          shape         unit  access
source        real2 (real)  any                 read; a sample lies at start + o outer + s step + i
padded        real2         (count, N)          write
Template parameters: real, double_precision, real_input; real_output: the samples are one half of
Hermitian lines, as in line_fft. Local memory: none. Grid: count N rounded up.
Reference: tests/reference/line_fft.py
</%doc>
<%include file="/common/types.cl.mako"/>
__kernel void pad_lines(
    __global const ${"real" if real_input else "real2"}* restrict source, const long start,
    const long outer_step, const long step, const int first, const int n, const int n_inner,
    const long first_line, const int count, const int length, __global real2* restrict padded)
{
    const long i = (long)get_global_id(0);
    if (i >= (long)count * length) return;
    const long line = i / length;
    const int place = (int)(i - line * length);
    int s = place - first;
    s -= s >= length ? length : 0;
    s += s < 0 ? length : 0;
    real2 value = (real2)((real)0);
    if (s < n) {
        const long outer = (first_line + line) / n_inner;
        const long from = start + outer * outer_step + s * step + first_line + line - outer * n_inner;
        value = ${"(real2)(source[from], (real)0)" if real_input else "source[from]"};
    }
% if real_output:
    value *= place == 0 || 2 * place == length ? (real)1 : (real)2;
% endif
    padded[i] = value;
}
