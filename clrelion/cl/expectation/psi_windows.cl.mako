/* psi_windows: the psi angles near each prior psi.
 *
 * Block b has the prior psi whose cosine and sine are psi_vectors[b]; the n_psi angles lie step
 * (radians) apart, psis[i] are their cosines and sines. Kept are those whose squared chord to the
 * prior is below limit[0], else the nearest; n_near of them around the prior are looked at. They are
 *   first[b], first[b] + 1 ... (modulo n_psi), count[b] of them
 *   offset[b] = psi of the first minus the prior, radians
 *   log_sum[b] = ln sum exp(-theta^2 / 2 sigma^2); 0 for a nearest one
 * n_near = 0: no prior, all angles with the same weight.
 * Specification E 4.6.
 *
 * psi_vectors wide [n][2], psis wide [n_psi][2], limit wide [1], read; first, count int [n],
 * offset, log_sum real [n], write
 * Local memory: none. Order of sums: by increasing angle.
 * Reference: tests/reference/local_lists.py
 */
<%include file="/common/wide_numbers.cl.mako"/>

/* distance of two numbers that differ by more than rounding */
#define DIFFERENT(a) ((real)1e-9 * (a) + (real)1e-19)

static inline wide squared_chord(const wide c, const wide s, __global const wide* other)
{
    const wide x = wide_minus(c, other[0]), y = wide_minus(s, other[1]);
    return wide_plus(wide_times(x, x), wide_times(y, y));
}

#define FULL_TURN REAL(6.283185307179586)

/* Between -pi and pi. */
static inline real folded_angle(const real angle)
{
    return angle - FULL_TURN * rint(angle / FULL_TURN);
}

/* The angle of `other` minus that of (c, s), radians. */
static inline real difference(const wide c, const wide s, __global const wide* other)
{
    const wide across = wide_minus(wide_times(c, other[1]), wide_times(s, other[0]));
    const wide along = wide_plus(wide_times(c, other[0]), wide_times(s, other[1]));
    return atan2(wide_value(across), wide_value(along));
}

__kernel void psi_windows(
    __global const wide* restrict psi_vectors, __global const wide* restrict psis,
    __global const wide* restrict limit, const int n_psi, const int n_near, const real step,
    const real sigma, const int n, __global int* restrict first, __global int* restrict count,
    __global real* restrict offset, __global real* restrict log_sum)
{
    const int b = get_global_id(0);
    if (b >= n) return;
    if (n_near == 0) {
        first[b] = 0;
        count[b] = n_psi;
        offset[b] = (real)0;
        log_sum[b] = log((real)n_psi);
        return;
    }
    const wide c = psi_vectors[2 * b], s = psi_vectors[2 * b + 1];
    const int middle = (int)rint(atan2(wide_value(s), wide_value(c)) / step);
    int begin = 0, kept = 0, nearest = 0;
    wide least = wide_of((real)8);
    for (int j = 0; j < n_near; j++) {
        const int i = (middle - n_near / 2 + j + 2 * n_psi) % n_psi;
        const wide chord = squared_chord(c, s, psis + 2 * i);
        const real gain = wide_value(wide_minus(least, chord));
        const real noise = DIFFERENT(wide_value(least));
        if (gain > noise || (gain >= -noise && i < nearest)) {
            least = chord;
            nearest = i;
        }
        if (wide_value(wide_minus(limit[0], chord)) <= DIFFERENT(wide_value(limit[0]))) continue;
        if (kept++ == 0) begin = i;
    }
    const real from = kept ? difference(c, s, psis + 2 * begin) : (real)0;
    real sum = (real)0;
    for (int j = 0; j < kept; j++) {
        const real theta = folded_angle(from + (real)j * step) / sigma;
        sum += exp((real)-0.5 * theta * theta);
    }
    first[b] = kept ? begin : nearest;
    count[b] = max(kept, 1);
    offset[b] = from;
    log_sum[b] = kept ? log(sum) : (real)0;
}
