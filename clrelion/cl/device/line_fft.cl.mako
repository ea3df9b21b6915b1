<%doc>
Transform lines of N samples of which only some are given and only some wanted (zero-padding and
cropping in one pass), as a mixed-radix Stockham transform in local memory.

    target[o, k, i] = scale sum_s source[o, s, i] exp(-+2 pi i (first_in + s)(first_out + k)/N)
    0 <= s < n_in, 0 <= k < n_out;  line = o n_inner + i;  + sign of the exponent: inverse

A sample lies at   start + o outer + s step + i   of its array.

name          type          shape         unit  access
source        real2 (real)  any                 read;  real if real_input
target        real2 (real)  any                 write; real if real_output
roots         real2         (N,)                read;  exp(-2 pi i j/N), rounded from double
first_*, n_*  int           scalars             -N <= first < N, n_in <= N
n_lines       long          scalar              lines in all
scale         real          scalar
Template parameters: real, double_precision;
    length, passes   N; list of (radix, product of the radices before)
    lines, items     lines a work-group, its size
    adjacent         True: neighbouring lines lie next to each other; False: samples do (step 1)
    inverse          the sign
    real_input       source is real
    real_output      the samples given are the half s + first_in = 0..N/2 of Hermitian lines; target
                     is real
Local memory: lines x N complex values. Order of sums: fixed.
Radices 2, 3, 4, 5, 7, 8 are done in registers; a larger prime factor by its definition.
Reference: tests/reference/line_fft.py
</%doc>
<%include file="/common/types.cl.mako"/>
<%
from math import cos, sin, pi
N, L, W = length, lines, items
def at(place, line):
    return f"({place}) * {L} + {line}" if adjacent else f"({line}) * {N} + {place}"
%>
static inline void dft2(real2* v)
{
    const real2 a = v[0];
    v[0] = a + v[1];
    v[1] = a - v[1];
}

static inline void dft4(real2* v)
{
    const real2 a = v[0] + v[2], b = v[0] - v[2], c = v[1] + v[3], d = v[1] - v[3];
    const real2 e = (real2)(d.y, -d.x);
    v[0] = a + c;
    v[1] = b + e;
    v[2] = a - c;
    v[3] = b - e;
}

static inline void dft8(real2* v)
{
    const real h = REAL(${repr(0.5**0.5)});
    real2 e[4] = {v[0], v[2], v[4], v[6]}, o[4] = {v[1], v[3], v[5], v[7]};
    dft4(e);
    dft4(o);
    o[1] = h * (real2)(o[1].x + o[1].y, o[1].y - o[1].x);
    o[2] = (real2)(o[2].y, -o[2].x);
    o[3] = h * (real2)(o[3].y - o[3].x, -o[3].x - o[3].y);
% for k in range(4):
    v[${k}] = e[${k}] + o[${k}];
    v[${k + 4}] = e[${k}] - o[${k}];
% endfor
}
% for r in (3, 5, 7):

static inline void dft${r}(real2* v)
{
% for i in range(1, r // 2 + 1):
    const real2 s${i} = v[${i}] + v[${r - i}], d${i} = v[${i}] - v[${r - i}];
% endfor
% for o in range(1, r // 2 + 1):
    const real2 a${o} = v[0]${"".join(f" + REAL({cos(2 * pi * i * o / r)!r}) * s{i}" for i in range(1, r // 2 + 1))};
    const real2 b${o} = ${" + ".join(f"REAL({sin(2 * pi * i * o / r)!r}) * d{i}" for i in range(1, r // 2 + 1))};
% endfor
    v[0] += ${" + ".join(f"s{i}" for i in range(1, r // 2 + 1))};
% for o in range(1, r // 2 + 1):
    v[${o}] = a${o} + (real2)(b${o}.y, -b${o}.x);
    v[${r - o}] = a${o} - (real2)(b${o}.y, -b${o}.x);
% endfor
}
% endfor

__kernel __attribute__((reqd_work_group_size(${W}, 1, 1))) void line_fft(
    __global const ${"real" if real_input else "real2"}* restrict source, const long source_start,
    const long source_outer, const long source_step, const int first_in, const int n_in,
    __global ${"real" if real_output else "real2"}* restrict target, const long target_start,
    const long target_outer, const long target_step, const int first_out, const int n_out,
    const int n_inner, const long n_lines, const real scale,
    __global const real2* restrict roots)
{
    __local real2 buffer[${N * L}];
    const int item = (int)get_local_id(0);
    const long first_line = (long)get_group_id(0) * ${L};
    for (int q = item; q < ${N * L}; q += ${W})
        buffer[q] = (real2)((real)0);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int q = item; q < n_in * ${L}; q += ${W}) {
% if adjacent:
        const int s = q / ${L}, line = q % ${L};
% else:
        const int line = q / n_in, s = q - line * n_in;
% endif
        if (first_line + line >= n_lines) continue;
        const long outer = (first_line + line) / n_inner;
        const long inner = first_line + line - outer * n_inner;
        int place = first_in + s;
        place += place < 0 ? ${N} : 0;
        place -= place >= ${N} ? ${N} : 0;
% if real_input:
        real2 value = (real2)(source[source_start + outer * source_outer + s * source_step + inner],
                              (real)0);
% else:
        real2 value = source[source_start + outer * source_outer + s * source_step + inner];
% endif
% if real_output:
        /* the real part of twice a coefficient stands for it and its Friedel mate */
        value *= place == 0 || 2 * place == ${N} ? (real)1 : (real)2;
% endif
        buffer[${at("place", "line")}] = ${"value.yx" if inverse else "value"};
    }
    barrier(CLK_LOCAL_MEM_FENCE);
% for radix, before in passes:
<%
    n_butterflies = N // radix * L
    per_item = -(-n_butterflies // W)
    stride = N // (before * radix)
%>
    {
% if radix <= 8:
% for b in range(per_item):
        real2 v${b}[${radix}];
% endfor
% for b in range(per_item):
        if (item < ${n_butterflies - b * W}) {
            const int q = item + ${b * W};
            const int j = ${f"q / {L}" if adjacent else f"q % {N // radix}"};
            const int line = ${f"q % {L}" if adjacent else f"q / {N // radix}"};
% for i in range(radix):
            v${b}[${i}] = buffer[${at(f"j + {i * (N // radix)}", "line")}];
% endfor
% if before > 1:
            const int k = (j % ${before}) * ${stride};
% for i in range(1, radix):
            v${b}[${i}] = complex_multiply(v${b}[${i}], roots[${i} * k]);
% endfor
% endif
            dft${radix}(v${b});
        }
% endfor
        barrier(CLK_LOCAL_MEM_FENCE);
% for b in range(per_item):
        if (item < ${n_butterflies - b * W}) {
            const int q = item + ${b * W};
            const int j = ${f"q / {L}" if adjacent else f"q % {N // radix}"};
            const int line = ${f"q % {L}" if adjacent else f"q / {N // radix}"};
            const int place = j / ${before} * ${before * radix} + j % ${before};
% for i in range(radix):
            buffer[${at(f"place + {i * before}", "line")}] = v${b}[${i}];
% endfor
        }
% endfor
        barrier(CLK_LOCAL_MEM_FENCE);
% else:
<% outputs = -(-N * L // W) %>
        real2 sums[${outputs}];
        #pragma unroll
        for (int u = 0; u < ${outputs}; u++) {
            const int q = item + u * ${W};
            if (q >= ${N * L}) break;
            const int place = ${f"q / {L}" if adjacent else f"q % {N}"};
            const int line = ${f"q % {L}" if adjacent else f"q / {N}"};
            /* output of butterfly j with inner index (place mod before radix) */
            const int j = place / ${before * radix} * ${before} + place % ${before};
            const int angle = place % ${before * radix} * ${stride};
            real2 sum = (real2)((real)0);
            int turn = 0;
            for (int m = 0; m < ${radix}; m++) {
                sum += complex_multiply(
                    buffer[${at(f"j + m * {N // radix}", "line")}], roots[turn]);
                turn += angle;
                turn -= turn >= ${N} ? ${N} : 0;
            }
            sums[u] = sum;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        #pragma unroll
        for (int u = 0; u < ${outputs}; u++) {
            const int q = item + u * ${W};
            if (q >= ${N * L}) break;
            const int place = ${f"q / {L}" if adjacent else f"q % {N}"};
            const int line = ${f"q % {L}" if adjacent else f"q / {N}"};
            buffer[${at("place", "line")}] = sums[u];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
% endif
    }
% endfor
    for (int q = item; q < n_out * ${L}; q += ${W}) {
% if adjacent:
        const int s = q / ${L}, line = q % ${L};
% else:
        const int line = q / n_out, s = q - line * n_out;
% endif
        if (first_line + line >= n_lines) continue;
        const long outer = (first_line + line) / n_inner;
        const long inner = first_line + line - outer * n_inner;
        int place = first_out + s;
        place += place < 0 ? ${N} : 0;
        place -= place >= ${N} ? ${N} : 0;
        const real2 value = scale * buffer[${at("place", "line")}]${".yx" if inverse else ""};
        __global ${"real" if real_output else "real2"}* out
            = target + target_start + outer * target_outer + s * target_step + inner;
        *out = value${".x" if real_output else ""};
    }
}
