// The CUDA kernels of ops/_slicing.cu as plain host functions: every thread of a grid runs in turn, in an order that
// the caller gives. A test builds this with any C++ compiler: the kernels' arithmetic is checked without a GPU.
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

static unsigned long long atomicAdd(unsigned long long *address, unsigned long long value) {
    unsigned long long old = *address;
    *address += value;
    return old;
}

#include "_slicing.cu"

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

extern "C" void host_slice_points(const long long *order, unsigned blocks, unsigned threads, const float2 *half,
                                  int size, int depth, const float *rotations, const float *points,
                                  long long n_points, long long total, float2 *values) {
    launch(slice_points, order, blocks, threads, half, size, depth, rotations, points, n_points, total, values);
}

extern "C" void host_insert_points(const long long *order, unsigned blocks, unsigned threads, const float2 *values,
                                   const float *weights, const float *rotations, const float *points,
                                   long long n_points, long long total, int size, int depth, float value_scale,
                                   float weight_scale, unsigned long long *fixed) {
    launch(insert_points, order, blocks, threads, values, weights, rotations, points, n_points, total, size, depth,
           value_scale, weight_scale, fixed);
}

extern "C" void host_add_fixed(const long long *order, unsigned blocks, unsigned threads,
                               const unsigned long long *fixed, long long voxels, double value_quantum,
                               double weight_quantum, float2 *numerator, float *weight_volume) {
    launch(add_fixed, order, blocks, threads, fixed, voxels, value_quantum, weight_quantum, numerator, weight_volume);
}
