<%doc>
Arithmetic in more than single precision, where the device need not have double: a wide number is a
double, or the sum of two floats (about 48 bits).

    wide_of(x)  wide_value(a)                real to wide and back
    wide_plus(a, b)  wide_minus(a, b)  wide_times(a, b)  wide_over(a, b)  wide_root(a)
    wide_cos_sin_pi(x, &c, &s)               of pi x, |x| <= 1/4
    wide_dot(a, b)                           of three

Template parameters: real, double_precision, and
    wide   "double", or "pair" (float2: the number is x + y, y at most half an ulp of x)
Reference: tests/reference/wide_numbers.py. Local memory: none.
</%doc>
<%include file="/common/types.cl.mako"/>
#ifndef CLRELION_WIDE_NUMBERS
#define CLRELION_WIDE_NUMBERS
% if wide == "double":
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
typedef double wide;

static inline wide wide_of(const real x) { return x; }
static inline real wide_value(const wide a) { return (real)a; }
static inline wide wide_plus(const wide a, const wide b) { return a + b; }
static inline wide wide_minus(const wide a, const wide b) { return a - b; }
static inline wide wide_times(const wide a, const wide b) { return a * b; }
static inline wide wide_over(const wide a, const wide b) { return a / b; }
static inline wide wide_root(const wide a) { return a > 0.0 ? sqrt(a) : 0.0; }

/* Taylor series: the angle is at most pi / 4 */
static inline void wide_cos_sin_pi(const wide x, wide* c, wide* s)
{
    const double a = 3.141592653589793 * x, t = a * a;
    *s = a * (1.0 + t * (-1.0 / 6 + t * (1.0 / 120 + t * (-1.0 / 5040 + t * (1.0 / 362880
        + t * (-1.0 / 39916800 + t * (1.0 / 6227020800 - t * (1.0 / 1307674368000))))))));
    *c = 1.0 + t * (-0.5 + t * (1.0 / 24 + t * (-1.0 / 720 + t * (1.0 / 40320 + t * (-1.0 / 3628800
        + t * (1.0 / 479001600 + t * (-1.0 / 87178291200 + t * (1.0 / 20922789888000))))))));
}
% else:
typedef float2 wide;

/* a + b without loss, |a| >= |b| */
static inline wide wide_ordered_sum(const float a, const float b)
{
    const float sum = a + b;
    return (wide)(sum, b - (sum - a));
}

/* a + b without loss */
static inline wide wide_sum(const float a, const float b)
{
    const float sum = a + b, part = sum - a;
    return (wide)(sum, (a - (sum - part)) + (b - part));
}

static inline wide wide_of(const real x)
{
    const float high = (float)x;
    return (wide)(high, (float)(x - (real)high));
}

static inline real wide_value(const wide a) { return (real)a.x + (real)a.y; }

static inline wide wide_plus(const wide a, const wide b)
{
    const wide sum = wide_sum(a.x, b.x);
    return wide_ordered_sum(sum.x, sum.y + (a.y + b.y));
}

static inline wide wide_minus(const wide a, const wide b) { return wide_plus(a, -b); }

static inline wide wide_times(const wide a, const wide b)
{
    /* without its last bit it is no product any more that a compiler may join with a sum, which would
     * then know already what was lost */
    const float product = as_float(as_int(a.x * b.x) & ~1);
    const float lost = fma(a.x, b.x, -product);
    return wide_ordered_sum(product, lost + (a.x * b.y + a.y * b.x));
}

static inline wide wide_over(const wide a, const wide b)
{
    const float first = a.x / b.x;
    const wide left = wide_minus(a, wide_times(b, (wide)(first, 0.0f)));
    const float second = left.x / b.x;
    const wide rest = wide_minus(left, wide_times(b, (wide)(second, 0.0f)));
    return wide_plus(wide_ordered_sum(first, second), (wide)(rest.x / b.x, 0.0f));
}

static inline wide wide_root(const wide a)
{
    if (!(a.x > 0.0f)) return (wide)(0.0f, 0.0f);
    const float root = sqrt(a.x);
    const wide square = wide_times((wide)(root, 0.0f), (wide)(root, 0.0f));
    return wide_ordered_sum(root, 0.5f * wide_minus(a, square).x / root);
}

/* Taylor series: 1/n! as wide numbers, from where single precision is enough as floats */
static inline void wide_cos_sin_pi(const wide x, wide* c, wide* s)
{
    const wide angle = wide_times(x, (wide)(3.14159274f, -8.74227766e-08f));
    const wide square = wide_times(angle, angle);
    const float t = square.x;
    wide sum = (wide)(t * (-2.50521084e-08f + t * (1.60590438e-10f - t * 7.64716373e-13f)), 0.0f);
    sum = wide_times(square, wide_plus((wide)(2.75573188e-06f, 3.79357122e-14f), sum));
    sum = wide_times(square, wide_plus((wide)(-0.000198412701f, 2.72559687e-12f), sum));
    sum = wide_times(square, wide_plus((wide)(0.00833333377f, -4.34617203e-10f), sum));
    sum = wide_times(square, wide_plus((wide)(-0.166666672f, 4.96705388e-09f), sum));
    *s = wide_times(angle, wide_plus((wide)(1.0f, 0.0f), sum));
    sum = (wide)(t * (-2.75573192e-07f + t * (2.08767570e-09f - t * 1.14707456e-11f)), 0.0f);
    sum = wide_times(square, wide_plus((wide)(2.48015876e-05f, -3.40699609e-13f), sum));
    sum = wide_times(square, wide_plus((wide)(-0.00138888892f, 3.36310944e-11f), sum));
    sum = wide_times(square, wide_plus((wide)(0.0416666679f, -1.24176347e-09f), sum));
    sum = wide_times(square, wide_plus((wide)(-0.5f, 0.0f), sum));
    *c = wide_plus((wide)(1.0f, 0.0f), sum);
}
% endif

static inline wide wide_dot(const wide* a, const wide* b)
{
    return wide_plus(
        wide_times(a[0], b[0]), wide_plus(wide_times(a[1], b[1]), wide_times(a[2], b[2])));
}
#endif
