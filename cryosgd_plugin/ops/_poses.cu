// Scores, slopes, shell sums and back-projection of single poses on a GPU; compiled behind _slicing.cu, whose Corner and
// add_to it uses. No thread waits for another: each adds up a share of a pose's points, `lanes` of them to a pose, and
// what they have found is summed in a fixed order afterwards. So results repeat to the bit.
//
// half : as in _slicing.cu; filtered, weight : (images, n_points), F and W; points : (n_points, 2), unpadded kx, ky
// rotations : (n_poses, 9), A times the padding; shifts : (n_poses, 2), boxes; image : (n_poses), which image each is of
// members : (n_points), numbers of the points shell by shell; starts : (count + 1), where in it each shell begins

__device__ static float2 complex_of(float real, float imaginary) {
    float2 result;
    result.x = real;
    result.y = imaginary;
    return result;
}

__device__ static float2 times(float2 a, float2 b) {
    return complex_of(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

// a + t (b − a)
__device__ static float2 between(float2 a, float2 b, float t) {
    return complex_of(a.x + t * (b.x - a.x), a.y + t * (b.y - a.y));
}

__device__ static float2 minus(float2 a, float2 b) {
    return complex_of(a.x - b.x, a.y - b.y);
}

__device__ static float2 sum3(float2 a, float s, float2 b, float t, float2 c, float u) {
    return complex_of(a.x * s + b.x * t + c.x * u, a.y * s + b.y * t + c.y * u);
}

// exp(2πi turns)
__device__ static float2 phase_of(float turns) {
    float2 phase;
    sincospif(2.0f * (turns - rintf(turns)), &phase.y, &phase.x);
    return phase;
}

// Y' = V̂(Aᵀ k) exp(2πi k·t) at one point, and its derivatives by x, y, z of Aᵀ k in padded pixels, moved likewise
struct Moved {
    float2 value, gx, gy, gz;
};

__device__ static Moved moved_value(const float2 *half, int size, int depth, const float *a, const float *shift,
                                    float px, float py) {
    Corner corner = corner_of(a, px, py, size, depth);
    float fx = corner.fx, fy = corner.fy, fz = corner.fz;
    const float2 *r00 = half + corner.first, *r01 = r00 + depth;
    const float2 *r10 = r00 + (long long)size * depth, *r11 = r10 + depth;
    float2 e00 = minus(r00[1], r00[0]), e01 = minus(r01[1], r01[0]);
    float2 e10 = minus(r10[1], r10[0]), e11 = minus(r11[1], r11[0]);
    float2 v00 = between(r00[0], r00[1], fx), v01 = between(r01[0], r01[1], fx);
    float2 v10 = between(r10[0], r10[1], fx), v11 = between(r11[0], r11[1], fx);
    float2 near = between(v00, v01, fy), far = between(v10, v11, fy);
    Moved result;
    result.value = between(near, far, fz);
    result.gx = between(between(e00, e01, fy), between(e10, e11, fy), fz);
    result.gy = between(minus(v01, v00), minus(v11, v10), fz);
    result.gz = minus(far, near);
    if (corner.flipped) {
        // V̂(−k) = conj V̂(k): the gradient changes its sign as well
        result.value.y = -result.value.y;
        result.gx.x = -result.gx.x;
        result.gy.x = -result.gy.x;
        result.gz.x = -result.gz.x;
    }
    float2 phase = phase_of(px * shift[0] + py * shift[1]);
    result.value = times(result.value, phase);
    result.gx = times(result.gx, phase);
    result.gy = times(result.gy, phase);
    result.gz = times(result.gz, phase);
    return result;
}

// partial : (21, n_poses, lanes), of each lane's points the score, the 5 slopes, and the lower triangle of the curvature
extern "C" __global__ void pose_terms(const float2 *half, int size, int depth, const float2 *filtered,
                                      const float *weight, const float *points, long long n_points,
                                      const float *rotations, const float *shifts, const int *image, long long n_poses,
                                      int lanes, float *partial) {
    const float full_turn = 6.28318530717958647692f;
    long long total = n_poses * lanes, stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        long long n = i / lanes;
        const float *a = rotations + 9 * n;
        long long row = image[n] * n_points;
        float sums[21];
#pragma unroll
        for (int q = 0; q < 21; q++)
            sums[q] = 0.0f;
        for (long long p = i % lanes; p < n_points; p += lanes) {
            float2 f = filtered[row + p];
            float w = weight[row + p];
            if (w == 0.0f && f.x == 0.0f && f.y == 0.0f)
                continue;
            float px = points[2 * p], py = points[2 * p + 1];
            Moved y = moved_value(half, size, depth, a, shifts + 2 * n, px, py);
            // k × e of the three axes, (0, 0, −ky), (0, 0, kx), (ky, −kx, 0), turned into the volume's frame
            float2 normal = sum3(y.gx, a[6], y.gy, a[7], y.gz, a[8]);
            float2 along_x = sum3(y.gx, a[0], y.gy, a[1], y.gz, a[2]);
            float2 along_y = sum3(y.gx, a[3], y.gy, a[4], y.gz, a[5]);
            float2 circling = complex_of(-full_turn * y.value.y, full_turn * y.value.x);
            float2 d[5];
            d[0] = complex_of(-py * normal.x, -py * normal.y);
            d[1] = complex_of(px * normal.x, px * normal.y);
            d[2] = complex_of(py * along_x.x - px * along_y.x, py * along_x.y - px * along_y.y);
            d[3] = complex_of(px * circling.x, px * circling.y);
            d[4] = complex_of(py * circling.x, py * circling.y);
            sums[0] += 2.0f * (f.x * y.value.x + f.y * y.value.y)
                       - w * (y.value.x * y.value.x + y.value.y * y.value.y);
            float2 left = complex_of(f.x - w * y.value.x, f.y - w * y.value.y);
            // indices that the compiler knows keep the sums in registers
#pragma unroll
            for (int j = 0; j < 5; j++) {
                sums[1 + j] += 2.0f * (left.x * d[j].x + left.y * d[j].y);
#pragma unroll
                for (int m = 0; m < 5; m++)
                    if (m <= j)
                        sums[6 + j * (j + 1) / 2 + m] += 2.0f * w * (d[j].x * d[m].x + d[j].y * d[m].y);
            }
        }
#pragma unroll
        for (int q = 0; q < 21; q++)
            partial[q * total + i] = sums[q];
    }
}

// partial : (2, n_poses, count, lanes), of each lane's points of a shell Σ Re(conj(F) Y') and Σ W |Y'|²
extern "C" __global__ void shell_terms(const float2 *half, int size, int depth, const float2 *filtered,
                                       const float *weight, const float *points, long long n_points,
                                       const int *members, const int *starts, int count, const float *rotations,
                                       const float *shifts, const int *image, long long n_poses, int lanes,
                                       float *partial) {
    long long total = n_poses * count * lanes, stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        int shell = (int)(i / lanes % count);
        long long n = i / lanes / count;
        long long row = image[n] * n_points;
        float cross = 0.0f, power = 0.0f;
        for (int q = starts[shell] + (int)(i % lanes); q < starts[shell + 1]; q += lanes) {
            int p = members[q];
            float2 f = filtered[row + p];
            float2 y = moved_value(half, size, depth, rotations + 9 * n, shifts + 2 * n, points[2 * p],
                                   points[2 * p + 1]).value;
            cross += f.x * y.x + f.y * y.y;
            power += weight[row + p] * (y.x * y.x + y.y * y.y);
        }
        partial[i] = cross;
        partial[total + i] = power;
    }
}

// partial : (images, count, lanes), of each lane's points of a shell Σ |value|²
extern "C" __global__ void shell_power(const float2 *values, long long n_points, const int *members, const int *starts,
                                       int count, long long n_images, int lanes, float *partial) {
    long long total = n_images * count * lanes, stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        int shell = (int)(i / lanes % count);
        const float2 *row = values + i / lanes / count * n_points;
        float power = 0.0f;
        for (int q = starts[shell] + (int)(i % lanes); q < starts[shell + 1]; q += lanes) {
            float2 value = row[members[q]];
            power += value.x * value.x + value.y * value.y;
        }
        partial[i] = power;
    }
}

// A value and its weight, times a share, onto the node (x, y, z) of a half volume, or onto its Friedel mate for x < 0.
__device__ static void add_node(unsigned long long *fixed, int size, int depth, int x, int y, int z, float share,
                                float2 value, float weight, float value_scale, float weight_scale) {
    if (x < 0) {
        x = -x;
        y = size - 1 - y;
        z = size - 1 - z;
        value.y = -value.y;
    }
    unsigned long long *voxel = fixed + 3 * (((long long)z * size + y) * depth + x);
    add_to(voxel, share * value.x, value_scale);
    add_to(voxel + 1, share * value.y, value_scale);
    add_to(voxel + 2, share * weight, weight_scale);
}

// mass : (n_poses); rate, norm : of the Gaussian kernel norm · exp(−rate · distance²) over 27 nodes; rate 0 for the
// trilinear one over 8; fixed : as in _slicing.cu
extern "C" __global__ void insert_poses(const float2 *filtered, const float *weight, const float *points,
                                        long long n_points, const float *rotations, const float *shifts,
                                        const int *image, const float *mass, long long n_poses, int size, int depth,
                                        float rate, float norm, float value_scale, float weight_scale,
                                        unsigned long long *fixed) {
    long long total = n_poses * n_points, stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        long long n = i / n_points, p = i % n_points;
        float2 f = filtered[image[n] * n_points + p];
        float w = weight[image[n] * n_points + p];
        if (w == 0.0f && f.x == 0.0f && f.y == 0.0f)
            continue;
        float px = points[2 * p], py = points[2 * p + 1];
        float2 phase = phase_of(-(px * shifts[2 * n] + py * shifts[2 * n + 1]));
        float2 value = times(complex_of(mass[n] * f.x, mass[n] * f.y), phase);
        w *= mass[n];
        Corner corner = corner_of(rotations + 9 * n, px, py, size, depth);
        if (corner.flipped)
            value.y = -value.y;
        if (rate == 0.0f) {
            for (int d = 0; d < 8; d++) {
                float share = (d & 4 ? corner.fz : 1.0f - corner.fz) * (d & 2 ? corner.fy : 1.0f - corner.fy)
                              * (d & 1 ? corner.fx : 1.0f - corner.fx);
                add_node(fixed, size, depth, corner.x + (d & 1), corner.y + (d >> 1 & 1), corner.z + (d >> 2), share, value, w,
                         value_scale, weight_scale);
            }
        } else {
            int nx = corner.fx >= 0.5f, ny = corner.fy >= 0.5f, nz = corner.fz >= 0.5f;
            for (int d = 0; d < 27; d++) {
                int dx = nx + d % 3 - 1, dy = ny + d / 3 % 3 - 1, dz = nz + d / 9 - 1;
                float ex = corner.fx - (float)dx, ey = corner.fy - (float)dy, ez = corner.fz - (float)dz;
                float share = norm * expf(-rate * (ex * ex + ey * ey + ez * ez));
                add_node(fixed, size, depth, corner.x + dx, corner.y + dy, corner.z + dz, share, value, w, value_scale,
                         weight_scale);
            }
        }
    }
}

// sums : (radius + 1), in fixed point, of a half volume's real values over the nodes of each shell, which lie at their
// distance over the padding, rounded
extern "C" __global__ void node_sums(const float *values, int size, int depth, int padding, int radius,
                                     long long total, float scale, unsigned long long *sums) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        // halves of whole numbers, whose squares are exact
        float x = (float)(i % depth) / (float)padding;
        float y = (float)(i / depth % size - size / 2) / (float)padding;
        float z = (float)(i / depth / size - size / 2) / (float)padding;
        int shell = (int)rintf(sqrtf(z * z + y * y + x * x));
        if (shell <= radius && values[i] != 0.0f)
            add_to(sums + shell, values[i], scale);
    }
}
