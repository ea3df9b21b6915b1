/* prior_mates: the symmetry mates of each particle's prior orientation.
 *
 * Particle i has the prior A = A(rot, tilt, psi); angles[i] are the cosines and sines of rot, tilt
 * and psi. For the operators R_m, b = i * n_mates + m:
 *   centres[b] = three numbers, cos tilt, sin tilt. The three are (prior)
 *     cap    R_m^T a, a the third row of A: the mate of the prior direction
 *     rot    R_m (-sin rot, cos rot, 0): across the plane of the prior rot
 *     tilt   the third column of R_m: the axis from which tilts of mates are counted
 *     none   not used
 *   psi_vectors[b] = (cos, sin) of psi; moves_psi: of the psi of A R_m
 * At a pole of A R_m (its rot is 0) psi comes from its first column.
 * Specification E 4.6, Q5.
 *
 * angles wide [n][6], operators wide [n_mates][9], read; centres wide [n * n_mates][5],
 * psi_vectors wide [n * n_mates][2], write
 * Local memory: none. Order of sums: as written.
 * Reference: tests/reference/local_lists.py
 */
<%include file="/common/wide_numbers.cl.mako"/>

/* sine of the tilt below which a direction is taken for the pole */
#define POLE (real)1.9073486e-6

static inline wide negative(const wide a) { return -a; }

__kernel void prior_mates(
    __global const wide* restrict angles, __global const wide* restrict operators,
    const int n_mates, const int moves_psi, const int n, __global wide* restrict centres,
    __global wide* restrict psi_vectors)
{
    const int b = get_global_id(0);
    if (b >= n * n_mates) return;
    __global const wide* angle = angles + 6 * (b / n_mates);
    __global const wide* R = operators + 9 * (b % n_mates);
    __global wide* centre = centres + 5 * b;
    const wide ca = angle[0], sa = angle[1], cb = angle[2], sb = angle[3];
    const wide cg = angle[4], sg = angle[5], cgcb = wide_times(cg, cb), sgcb = wide_times(sg, cb);
    const wide A[3][3] = {
        {wide_minus(wide_times(cgcb, ca), wide_times(sg, sa)),
         wide_plus(wide_times(cgcb, sa), wide_times(sg, ca)), negative(wide_times(cg, sb))},
        {negative(wide_plus(wide_times(sgcb, ca), wide_times(cg, sa))),
         wide_minus(wide_times(cg, ca), wide_times(sgcb, sa)), wide_times(sg, sb)},
        {wide_times(sb, ca), wide_times(sb, sa), cb}};
    const wide columns[3][3] = {
        {R[0], R[3], R[6]}, {R[1], R[4], R[7]}, {R[2], R[5], R[8]}};
    for (int k = 0; k < 3; k++)
% if prior == "cap":
        centre[k] = wide_dot(A[2], columns[k]);
% elif prior == "rot":
        centre[k] = wide_minus(wide_times(R[3 * k + 1], ca), wide_times(R[3 * k], sa));
% else:
        centre[k] = columns[2][k];
% endif
    centre[3] = cb;
    centre[4] = sb;
    wide c = cg, s = sg;
    if (moves_psi) {
        c = negative(wide_dot(A[0], columns[2]));
        s = wide_dot(A[1], columns[2]);
        if (hypot(wide_value(c), wide_value(s)) <= POLE) {
            const bool is_north = wide_value(wide_dot(A[2], columns[2])) > (real)0;
            c = wide_dot(A[0], columns[0]);
            s = wide_dot(A[1], columns[0]);
            if (is_north) s = negative(s); else c = negative(c);
        }
        const wide length = wide_root(wide_plus(wide_times(c, c), wide_times(s, s)));
        c = wide_over(c, length);
        s = wide_over(s, length);
    }
    psi_vectors[2 * b] = c;
    psi_vectors[2 * b + 1] = s;
}
