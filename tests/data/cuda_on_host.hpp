// What the CUDA kernels of ops/*.cu need to run as plain host functions: every thread of a grid in turn, in an order
// that the caller gives. host_cuda.py puts this before a kernel's source and launchers behind it, and builds that with
// any C++ compiler: the kernels' arithmetic is checked without a GPU.
#include <cmath>

struct float2 {
    float x, y;
};
struct dim3 {
    unsigned x, y, z;
};

#define __global__
#define __device__

static dim3 gridDim, blockDim, blockIdx, threadIdx;

static inline unsigned long long atomicAdd(unsigned long long *address, unsigned long long value) {
    unsigned long long old = *address;
    *address += value;
    return old;
}

static inline void sincospif(float x, float *sine, float *cosine) {
    *sine = (float)std::sin(3.14159265358979323846 * x);
    *cosine = (float)std::cos(3.14159265358979323846 * x);
}

template <typename... Parameters, typename... Arguments>
static void launch(void (*kernel)(Parameters...), const long long *order, unsigned blocks, unsigned threads,
                   Arguments... arguments) {
    gridDim = {blocks, 1, 1};
    blockDim = {threads, 1, 1};
    for (long long i = 0; i < (long long)blocks * threads; i++) {
        blockIdx = {(unsigned)(order[i] / threads), 0, 0};
        threadIdx = {(unsigned)(order[i] % threads), 0, 0};
        kernel(arguments...);
    }
}
