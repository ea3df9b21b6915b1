/* split_rows: write each row as sums of two halves, times a power of two, for tensor cores.
 *
 *   row[k] = inverse_scale (high[k] + low[k]);  2^12 <= max |high| <= 2^13
 * One work-group of ${wg} a row. Single precision only; depth a multiple of 16.
 * Specification E 5.4 (operands of the products).
 *
 * rows          real [n_rows][depth], read
 * parts         bytes of halves [n_rows][depth / 16][high, low][16], write
 * inverse_scale real [n_rows], write
 * Local memory: ${wg} reals. Order of sums: none.
 * Reference: tests/reference/split_rows.py
 */
<%include file="/common/types.cl.mako"/>
<%include file="/common/reduce.cl.mako"/>
<%include file="/common/split_half.cl.mako"/>

__kernel __attribute__((reqd_work_group_size(${wg}, 1, 1)))
void split_rows(
    __global const real* restrict rows, const int depth, __global uchar* restrict parts,
    __global real* restrict inverse_scale)
{
    __local real scratch[${wg}];
    const int lid = get_local_id(0);
    const long row = get_group_id(0);
    __global const real* mine = rows + row * depth;
    __global half* halves = (__global half*)parts + row * depth * 2;
    real largest = (real)0;
    for (int k = lid * 4; k < depth; k += ${wg} * 4) {
        const real4 x = fabs(vload4(0, mine + k));
        largest = fmax(largest, fmax(fmax(x.x, x.y), fmax(x.z, x.w)));
    }
    const int exponent = scale_exponent(group_max(largest, scratch));
    const real scale = ldexp((real)1, exponent);
    for (int k = lid * 4; k < depth; k += ${wg} * 4) {
        const real4 x = scale * vload4(0, mine + k);
        __global half* high = halves + (k / 16) * 32 + k % 16;
        vstore_half4_rte(x, 0, high);
        vstore_half4_rte(x - vload_half4(0, high), 0, high + 16);
    }
    if (lid == 0) inverse_scale[row] = ldexp((real)1, -exponent);
}
