<%doc>
Types and complex arithmetic of the session's precision. Device functions only.

Template parameters: real ("float" or "double"), double_precision (bool).
Reference: NumPy scalars (tests/reference/common.py). Local memory: none.
</%doc>
#ifndef CLRELION_TYPES
#define CLRELION_TYPES
% if double_precision:
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
% endif

typedef ${real} real;
typedef ${real}2 real2;
typedef ${real}3 real3;
typedef ${real}4 real4;
typedef ${real}8 real8;
typedef ${real}16 real16;

/* A number as real. In single precision the compiler folds the double constant at build time. */
#define REAL(x) ((real)(x))

static inline real2 complex_multiply(const real2 a, const real2 b)
{
    return (real2)(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

/* a conj(b) */
static inline real2 complex_multiply_conjugate(const real2 a, const real2 b)
{
    return (real2)(a.x * b.x + a.y * b.y, a.y * b.x - a.x * b.y);
}

static inline real2 complex_conjugate(const real2 a)
{
    return (real2)(a.x, -a.y);
}

/* |a|^2 */
static inline real complex_norm2(const real2 a)
{
    return a.x * a.x + a.y * a.y;
}

/* exp(i angle), angle in radians */
static inline real2 complex_phase(const real angle)
{
    return (real2)(cos(angle), sin(angle));
}
#endif
