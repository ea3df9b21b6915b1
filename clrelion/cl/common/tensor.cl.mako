<%doc>
One tensor-core product in tf32 by inline PTX (NVIDIA sm_80 and newer), per warp of 32 items:

    d[16 x 8] += a[16 x 8] b[8 x 8],   fp32 sums

With lane = work-item of the warp, group = lane / 4 and inner = lane % 4, item holds
    a[0..3]  A(group, inner), A(group + 8, inner), A(group, inner + 4), A(group + 8, inner + 4)
    b[0..1]  B(inner, group), B(inner + 4, group)
    d[0..3]  D(group, 2 inner), D(group, 2 inner + 1), D(group + 8, 2 inner), D(group + 8, 2 inner + 1)

Only for sessions whose capabilities report the tensor path. Template parameters: none.
Reference: numpy.matmul. Local memory: none.
</%doc>
#ifndef CLRELION_TENSOR
#define CLRELION_TENSOR
/* Round to tf32 (10 mantissa bits), nearest with ties away from zero. */
static inline uint to_tf32(const float value)
{
    uint bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return bits;
}

static inline void multiply_tf32(float *d, const uint *a, const uint *b)
{
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif
