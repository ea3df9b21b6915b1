<%doc>
Transforms of 2 to 16 complex numbers in registers, exponent -2 pi i, unscaled: dft2 ... dft16(v),
in place.  Device functions only.

Template parameters: those of common/types. Local memory: none.
Reference: tests/reference/line_fft.py (test_line_fft.py meets every one)
</%doc>
<%include file="/common/types.cl.mako"/>
<%
from math import cos, sin, pi
composite = {6: (2, 3), 9: (3, 3), 10: (2, 5), 12: (3, 4), 14: (2, 7), 15: (3, 5), 16: (4, 4)}
def turn(n, r):
    """exp(-2 pi i n/r) as a constant."""
    return f"(real2)(REAL({cos(2 * pi * n / r)!r}), REAL({-sin(2 * pi * n / r)!r}))"
%>
#ifndef CLRELION_DFT
#define CLRELION_DFT
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
% for r in (3, 5, 7, 11, 13):

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
% for r, (p, q) in composite.items():

static inline void dft${r}(real2* v)
{
% for n in range(q):
    real2 w${n}[${p}] = {${", ".join(f"v[{q * m + n}]" for m in range(p))}};
    dft${p}(w${n});
% for k in range(1, p):
% if n:
    w${n}[${k}] = complex_multiply(w${n}[${k}], ${turn(n * k, r)});
% endif
% endfor
% endfor
% for k in range(p):
    real2 u${k}[${q}] = {${", ".join(f"w{n}[{k}]" for n in range(q))}};
    dft${q}(u${k});
% for m in range(q):
    v[${k + p * m}] = u${k}[${m}];
% endfor
% endfor
}
% endfor
#endif
