// The slicing kernels on a GPU: slice_points, insert_points, add_fixed. Plain CUDA C without headers, so that NVRTC
// compiles it and a host compiler can run it thread by thread (tests/host_cuda.py).
//
// half, fixed, numerator, weight_volume : (size, size, depth) = [kz + size / 2, ky + size / 2, kx], C order
// rotations : (n, 3, 3), A of core/CONVENTIONS.md; points : (p, 2), padded Fourier pixels; values, weights : (n, p)
// Indices into arrays are 64 bits wide: n · p passes 2³¹ at fine grids.

// Where A^T (px, py, 0) lies: the first of its eight corners and its number, the fractions beyond it, and whether the
// Friedel mate (kx ≥ 0) was taken.
struct Corner {
    long long first;
    int x, y, z;
    float fx, fy, fz;
    bool flipped;
};

__device__ static Corner corner_of(const float *a, float px, float py, int size, int depth) {
    float x = a[0] * px + a[3] * py;
    float y = a[1] * px + a[4] * py;
    float z = a[2] * px + a[5] * py;
    Corner corner;
    corner.flipped = x < 0.0f;
    if (corner.flipped) {
        x = -x;
        y = -y;
        z = -z;
    }
    y += (float)(size / 2);
    z += (float)(size / 2);
    // all three are positive here, where truncation rounds down
    corner.x = (int)x;
    corner.y = (int)y;
    corner.z = (int)z;
    corner.fx = x - (float)corner.x;
    corner.fy = y - (float)corner.y;
    corner.fz = z - (float)corner.z;
    corner.first = ((long long)corner.z * size + corner.y) * depth + corner.x;
    return corner;
}

extern "C" __global__ void slice_points(const float2 *half, int size, int depth, const float *rotations,
                                        const float *points, long long n_points, long long total, float2 *values) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        long long p = i % n_points;
        Corner corner = corner_of(rotations + 9 * (i / n_points), points[2 * p], points[2 * p + 1], size, depth);
        float real = 0.0f, imaginary = 0.0f;
        for (int dz = 0; dz < 2; dz++)
            for (int dy = 0; dy < 2; dy++) {
                float weight = (dz ? corner.fz : 1.0f - corner.fz) * (dy ? corner.fy : 1.0f - corner.fy);
                const float2 *row = half + corner.first + ((long long)dz * size + dy) * depth;
                real += weight * ((1.0f - corner.fx) * row[0].x + corner.fx * row[1].x);
                imaginary += weight * ((1.0f - corner.fx) * row[0].y + corner.fx * row[1].y);
            }
        values[i].x = real;
        values[i].y = corner.flipped ? -imaginary : imaginary;
    }
}

// A float times the scale (a power of two, so that only this rounding loses anything), as two's complement: adding
// such integers without sign wraps to the right signed sum, in whatever order the threads come.
__device__ static void add_to(unsigned long long *sum, float value, float scale) {
    atomicAdd(sum, (unsigned long long)llrintf(value * scale));
}

// fixed : (size, size, depth, 3), for each voxel the real and imaginary part of the numerator and the weight
extern "C" __global__ void insert_points(const float2 *values, const float *weights, const float *rotations,
                                         const float *points, long long n_points, long long total, int size, int depth,
                                         float value_scale, float weight_scale, unsigned long long *fixed) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        float2 value = values[i];
        float point_weight = weights[i];
        if (point_weight == 0.0f && value.x == 0.0f && value.y == 0.0f)
            continue;
        long long p = i % n_points;
        Corner corner = corner_of(rotations + 9 * (i / n_points), points[2 * p], points[2 * p + 1], size, depth);
        if (corner.flipped)
            value.y = -value.y;
        for (int dz = 0; dz < 2; dz++)
            for (int dy = 0; dy < 2; dy++) {
                float plane = (dz ? corner.fz : 1.0f - corner.fz) * (dy ? corner.fy : 1.0f - corner.fy);
                for (int dx = 0; dx < 2; dx++) {
                    float share = plane * (dx ? corner.fx : 1.0f - corner.fx);
                    unsigned long long *voxel = fixed + 3 * (corner.first + ((long long)dz * size + dy) * depth + dx);
                    add_to(voxel, share * value.x, value_scale);
                    add_to(voxel + 1, share * value.y, value_scale);
                    add_to(voxel + 2, share * point_weight, weight_scale);
                }
            }
    }
}

// numerator += fixed / value_scale, weight_volume += fixed / weight_scale
extern "C" __global__ void add_fixed(const unsigned long long *fixed, long long voxels, double value_quantum,
                                     double weight_quantum, float2 *numerator, float *weight_volume) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < voxels; i += stride) {
        numerator[i].x += (float)((double)(long long)fixed[3 * i] * value_quantum);
        numerator[i].y += (float)((double)(long long)fixed[3 * i + 1] * value_quantum);
        weight_volume[i] += (float)((double)(long long)fixed[3 * i + 2] * weight_quantum);
    }
}
