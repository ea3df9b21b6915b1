<%doc>
Transform lines of N samples of which only some are given and only some wanted (zero-padding and
cropping in one pass), as a mixed-radix Stockham transform: the first pass takes its samples from
global memory, the last one writes them there, and between passes they change places in local memory.

    target[o, k, i] = scale sum_s source[o, s, i] exp(-+2 pi i (first_in + s)(first_out + k)/N)
    0 <= s < n_in, 0 <= k < n_out;  line = o n_inner + i;  + sign of the exponent: inverse

A sample lies at   start + o outer + s step + i   of its array.  Two real lines are transformed as
one complex line.

name          type          shape         unit  access
source        real2 (real)  any                 read;  real if real_input
target        real2 (real)  any                 write; real if real_output
roots         real2         (N + ...,)          read;  exp(-2 pi i j/N), then for each pass but the
                                                first exp(-2 pi i m k/(before radix)), m = 1..radix-1,
                                                k = 0..before-1; rounded from double
first_*, n_*  int           scalars             -N <= first < N, n_in <= N, n_out <= 2 N
n_lines       int           scalar              lines in all
scale         real          scalar
Template parameters: real, double_precision;
    length, passes   N; list of (radix, product of the radices before)
    lines, items     complex lines a work-group, its size
    adjacent         True: neighbouring lines lie next to each other; False: samples do (n_inner 1)
    inverse          the sign
    real_input       source is real
    real_output      the samples given are the half s + first_in = 0..N/2 of Hermitian lines; target
                     is real
Local memory: lines x N complex values (17/16 of it where samples are adjacent). Order of sums: fixed.
Radices up to 16 are done in registers; a larger prime factor by its definition.
Reference: tests/reference/line_fft.py
</%doc>
<%include file="/common/dft.cl.mako"/>
<%include file="/common/lines.cl.mako"/>
<%
N, L, W = length, lines, items
is_pair = real_input or real_output
reads_first = bool(passes) and passes[0][0] <= 16
writes_last = bool(passes) and passes[-1][0] <= 16 and not real_input
def at(place, line):
    return f"({place}) * {L} + {line}" if adjacent else f"({line}) * PITCH + PADDED({place})"
def places(base, line, step, radix):
    """Where the samples base + i step of a line are in local memory: constants apart if possible."""
    if adjacent:
        return [f"{at(base, line)} + {i * step * L}" for i in range(radix)]
    if step % 16 == 0:
        return [f"{at(base, line)} + {i * (step + step // 16)}" for i in range(radix)]
    if step == 1 and 16 % radix == 0:  # base is a multiple of the radix
        return [f"{at(base, line)} + {i}" for i in range(radix)]
    return [at(f"{base} + {i * step}", line) for i in range(radix)]
%>
#define PADDED(place) ((place) + (place) / 16)
#define PITCH ${N + (N - 1) // 16}

<%def name="find_lines(name, line)">
% if is_pair:
            const long ${name}0 = line_start(${name}_start, ${name}_outer, 2 * (${line}), n_inner, n_lines);
            const long ${name}1 = line_start(${name}_start, ${name}_outer, 2 * (${line}) + 1, n_inner, n_lines);
% else:
            const long ${name}0 = line_start(${name}_start, ${name}_outer, ${line}, n_inner, n_lines);
% endif
</%def>
<%def name="read(to, place)">
            {
                const ${"real" if real_input else "real2"} one =
                    given_sample(source, source0, source_step, ${place}, first_in, n_in);
% if real_input:
                const real2 value = (real2)(
                    one, given_sample(source, source1, source_step, ${place}, first_in, n_in));
% elif real_output:
                const real2 two =
                    given_sample(source, source1, source_step, ${place}, first_in, n_in);
                const real2 value = (real2)(one.x - two.y, one.y + two.x);
% else:
                const real2 value = one;
% endif
                ${to} = value${".yx" if inverse else ""};
            }
</%def>
<%def name="write(value, place)">
            {
                const real2 scaled = scale * (${value})${".yx" if inverse else ""};
                const int s = sample_at(${place}, first_out);
% for again in range(2):
                if (s + ${again * N} < n_out) {
% if real_output:
                    if (target0 >= 0) target[target0 + (s + ${again * N}) * target_step] = scaled.x;
                    if (target1 >= 0) target[target1 + (s + ${again * N}) * target_step] = scaled.y;
% else:
                    if (target0 >= 0) target[target0 + (s + ${again * N}) * target_step] = scaled;
% endif
                }
% endfor
            }
</%def>
<%def name="butterfly(b, radix)">
            const int q = item + ${b * W};
            const int j = ${f"q / {L}" if adjacent else f"q % {N // radix}"};
            const int line = ${f"q % {L}" if adjacent else f"q / {N // radix}"};
</%def>

__kernel __attribute__((reqd_work_group_size(${W}, 1, 1))) void line_fft(
    __global const ${"real" if real_input else "real2"}* restrict source, const long source_start,
    const long source_outer, const long source_step, const int first_in, const int n_in,
    __global ${"real" if real_output else "real2"}* restrict target, const long target_start,
    const long target_outer, const long target_step, const int first_out, const int n_out,
    const int n_inner, const int n_lines, const real scale, __global const real2* restrict roots)
{
    __local real2 buffer[${N * L if adjacent else (N + (N - 1) // 16) * L}];
    const int item = (int)get_local_id(0);
    const int first_line = (int)get_group_id(0) * ${L};
% if not reads_first:
    for (int q = item; q < ${N * L}; q += ${W}) {
        const int line = q ${"%" if adjacent else "/"} ${L if adjacent else N};
        const int place = q ${"/" if adjacent else "%"} ${L if adjacent else N};
        ${find_lines("source", "first_line + line")}
        ${read(f"buffer[{at('place', 'line')}]", "place")}
    }
    barrier(CLK_LOCAL_MEM_FENCE);
% endif
<% table = N %>
% for number, (radix, before) in enumerate(passes):
<%
    n_butterflies = N // radix * L
    per_item = -(-n_butterflies // W)
    is_first, is_last = number == 0, number == len(passes) - 1
%>
    {
% if radix <= 16:
% for b in range(per_item):
        real2 v${b}[${radix}];
        if (item < ${n_butterflies - b * W}) {
            ${butterfly(b, radix)}
% if is_first:
            ${find_lines("source", "first_line + line")}
% for i in range(radix):
            ${read(f"v{b}[{i}]", f"j + {i * (N // radix)}")}
% endfor
% else:
% for i, place in enumerate(places("j", "line", N // radix, radix)):
            v${b}[${i}] = buffer[${place}];
% endfor
            const int k = j % ${before};
% for i in range(1, radix):
            v${b}[${i}] = complex_multiply(v${b}[${i}], roots[${table + (i - 1) * before} + k]);
% endfor
% endif
            dft${radix}(v${b});
% if is_last and writes_last:
            ${find_lines("target", "first_line + line")}
% for i in range(radix):
            ${write(f"v{b}[{i}]", f"j + {i * (N // radix)}")}
% endfor
% endif
        }
% endfor
% if not (is_last and writes_last):
% if not is_first:
        barrier(CLK_LOCAL_MEM_FENCE);
% endif
% for b in range(per_item):
        if (item < ${n_butterflies - b * W}) {
            ${butterfly(b, radix)}
            const int base = j / ${before} * ${before * radix} + j % ${before};
% for i, place in enumerate(places("base", "line", before, radix)):
            buffer[${place}] = v${b}[${i}];
% endfor
        }
% endfor
        barrier(CLK_LOCAL_MEM_FENCE);
% endif
% else:
<% outputs = -(-N // W) %>
        real2 sums[${outputs}][${L}];
        #pragma unroll
        for (int u = 0; u < ${outputs}; u++) {
            const int place = item + u * ${W};
            if (place >= ${N}) break;
            /* output of butterfly j with inner index (place mod before radix), of all lines */
            const int j = place / ${before * radix} * ${before} + place % ${before};
            const int angle = place % ${before * radix} * ${N // (before * radix)};
            #pragma unroll
            for (int line = 0; line < ${L}; line++) sums[u][line] = (real2)((real)0);
            int turn = 0;
            for (int m = 0; m < ${radix}; m++) {
                const real2 root = roots[turn];
                #pragma unroll
                for (int line = 0; line < ${L}; line++)
                    sums[u][line] += complex_multiply(
                        buffer[${at(f"j + m * {N // radix}", "line")}], root);
                turn += angle;
                turn -= turn >= ${N} ? ${N} : 0;
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        #pragma unroll
        for (int u = 0; u < ${outputs}; u++) {
            const int place = item + u * ${W};
            if (place >= ${N}) break;
            #pragma unroll
            for (int line = 0; line < ${L}; line++) buffer[${at("place", "line")}] = sums[u][line];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
% endif
    }
<% table += (radix - 1) * before if number else 0 %>
% endfor
% if not writes_last:
% if adjacent:
    for (int q = item; q < n_out * ${L}; q += ${W}) {
        const int s = q / ${L}, line = q % ${L};
% else:
    for (int line = 0; line < ${L}; line++)
    for (int s = item; s < n_out; s += ${W}) {
% endif
        int place = first_out + s;
        place += place < 0 ? ${N} : 0;
        place -= place >= ${N} ? ${N} : 0;
        const real2 value = buffer[${at("place", "line")}];
        ${find_lines("target", "first_line + line")}
% if real_input:
        /* the transform of the one line is Hermitian, i times that of the other antihermitian */
        const real2 mate = buffer[${at(f"place ? {N} - place : 0", "line")}];
        const real half_scale = (real)0.5 * scale;
        const real2 sum = (real2)(value.x + mate.x, value.y - mate.y);
        const real2 difference = (real2)(value.y + mate.y, mate.x - value.x);
        if (target0 >= 0) target[target0 + s * target_step] = half_scale * sum;
        if (target1 >= 0) target[target1 + s * target_step] = half_scale * difference;
% elif real_output:
        const real2 scaled = scale * value.yx;
        if (target0 >= 0) target[target0 + s * target_step] = scaled.x;
        if (target1 >= 0) target[target1 + s * target_step] = scaled.y;
% else:
        if (target0 >= 0) target[target0 + s * target_step] = scale * value${".yx" if inverse else ""};
% endif
    }
% endif
}
