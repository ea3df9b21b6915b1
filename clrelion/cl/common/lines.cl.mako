<%doc>
Where the samples of lines lie that are padded to N or cropped. Device functions only.

    line_start(start, outer, line, n_inner, n_lines)   first element of a line
    sample_at(place, first)                            number of the sample at a place of a line
    given_sample(source, start, step, place, first, n) sample at a place, 0 where none is given

Template parameters: those of device/line_fft. Local memory: none.
Reference: tests/reference/line_fft.py
</%doc>
<%include file="/common/types.cl.mako"/>
<% N = length %>
#ifndef CLRELION_LINES
#define CLRELION_LINES
/* first element of a line, or -1 beyond the last line */
static inline long line_start(const long start, const long outer_step, const int line,
                              const int n_inner, const int n_lines)
{
    if (line >= n_lines) return -1;
% if adjacent:
    const int outer = line / n_inner;
    return start + outer * outer_step + line - outer * n_inner;
% else:
    return start + line * outer_step;
% endif
}

/* number of the sample at a place, counted from the first */
static inline int sample_at(const int place, const int first)
{
    int s = place - first;
    s += s < 0 ? ${N} : 0;
    return s - (s >= ${N} ? ${N} : 0);
}

static inline ${"real" if real_input else "real2"} given_sample(
    __global const ${"real" if real_input else "real2"}* restrict source, const long start,
    const long step, const int place, const int first, const int n)
{
% if real_output:
    const int mirrored = 2 * place > ${N};
    const int s = sample_at(mirrored ? ${N} - place : place, first);
    if (start < 0 || s >= n) return (real2)((real)0);
    const real2 value = source[start + s * step];
    const real imaginary = place == 0 || 2 * place == ${N} ? (real)0 : value.y;
    return (real2)(value.x, mirrored ? -imaginary : imaginary);
% else:
    const int s = sample_at(place, first);
    return start < 0 || s >= n ? (${"real" if real_input else "real2"})0 : source[start + s * step];
% endif
}
#endif
