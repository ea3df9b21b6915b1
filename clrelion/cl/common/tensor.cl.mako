<%doc>
Tensor-core products of half-precision tiles with fp32 sums, by inline PTX (NVIDIA sm_80 and newer):
what a warp of 32 work-items needs to copy tiles into local memory, to take fragments from there and
to multiply them.

    copy_to_local(address, from)      start copying 16 bytes from global memory
    COMMIT_COPIES, WAIT_COPIES(n)     end a group of copies; wait until all but the last n have come
    load_fragments(r, address)        four 8 x 8 tiles; lane l names row l % 8 of tile l / 8 (16 bytes)
    load_transposed(r, address)       the same, each tile transposed
    multiply_tiles(d, a, b)           d[16 x 8] += a[16 x 16] b[16 x 8]

Addresses are bytes of local memory, from local_address(pointer), multiples of 16.  With group =
lane / 4 and inner = lane % 4, a work-item holds pairs of neighbours k, k + 1 in one uint:
    a[0..3]  A(group, 2 inner), A(group + 8, 2 inner), A(group, 2 inner + 8), A(group + 8, 2 inner + 8)
    b[0..1]  B(2 inner, group), B(2 inner + 8, group)
    d[0..3]  D(group, 2 inner), D(group, 2 inner + 1), D(group + 8, 2 inner), D(group + 8, 2 inner + 1)
The tensor cores cut their sums off instead of rounding them: keep the chains short.

Only for sessions whose capabilities report the tensor path. Template parameters: none.
Reference: numpy.matmul. Local memory: none of its own.
</%doc>
#ifndef CLRELION_TENSOR
#define CLRELION_TENSOR
#define local_address(pointer) ((uint)(size_t)(pointer))
#define COMMIT_COPIES asm volatile("cp.async.commit_group;" ::: "memory")
#define WAIT_COPIES(n) asm volatile("cp.async.wait_group " #n ";" ::: "memory")

static inline void copy_to_local(const uint address, __global const uchar *from)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(address), "l"(from) : "memory");
}

static inline void load_fragments(uint *r, const uint address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

static inline void load_transposed(uint *r, const uint address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

static inline void multiply_tiles(float *d, const uint *a, const uint *b)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif
