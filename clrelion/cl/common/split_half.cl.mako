<%doc>
Scale of numbers that are split into two halves (11 significant bits each).

    scale_exponent(largest)   e with 2^12 <= largest 2^e < 2^13, within +-100; 0 for largest = 0

Halves reach from 2^-14 (with all bits) to 2^16: what is 2^-26 of the largest keeps its 11 high bits.
Template parameters: real. Reference: tests/reference/split_rows.py. Local memory: none.
</%doc>
#ifndef CLRELION_SPLIT_HALF
#define CLRELION_SPLIT_HALF
static inline int scale_exponent(const real largest)
{
    return largest > (real)0 ? clamp(12 - ilogb(largest), -100, 100) : 0;
}
#endif
