/* split_panels: split_rows for packed projections: each orientation has a scale of its own.
 *
 * Work-groups of 512 do one panel of 128 orientations, a work-item every fourth value of one.
 * Single precision only; depth a multiple of 16. Specification E 5.4 (operands of the products).
 *
 * projections   real [panels][depth][128], read
 * parts         bytes of halves [panels][depth / 16][high, low][16][128], write
 * inverse_scale real [panels * 128], write
 * Local memory: 512 reals. Order of sums: none.
 * Reference: tests/reference/split_panels.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/split_half.cl.mako"/>
#define PANEL 128
#define SHARES 4

__kernel __attribute__((reqd_work_group_size(PANEL * SHARES, 1, 1)))
void split_panels(
    __global const real* restrict projections, const int depth, __global uchar* restrict parts,
    __global real* restrict inverse_scale)
{
    __local real scratch[SHARES][PANEL];
    const int column = get_local_id(0) % PANEL, share = get_local_id(0) / PANEL;
    const long panel = get_group_id(0);
    __global const real* mine = projections + panel * depth * PANEL + column;
    __global half* halves = (__global half*)parts + panel * depth * PANEL * 2 + column;
    real largest = (real)0;
    for (int k = share; k < depth; k += SHARES) largest = fmax(largest, fabs(mine[(long)k * PANEL]));
    scratch[share][column] = largest;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int s = 0; s < SHARES; s++) largest = fmax(largest, scratch[s][column]);
    const int exponent = scale_exponent(largest);
    const real scale = ldexp((real)1, exponent);
    for (int k = share; k < depth; k += SHARES) {
        const real x = scale * mine[(long)k * PANEL];
        __global half* high = halves + ((long)(k / 16) * 32 + k % 16) * PANEL;
        vstore_half_rte(x, 0, high);
        vstore_half_rte(x - vload_half(0, high), 0, high + 16 * PANEL);
    }
    if (share == 0) inverse_scale[panel * PANEL + column] = ldexp((real)1, -exponent);
}
