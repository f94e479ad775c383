// Scores of many pairs of direction and shift over the in-plane angle, and what a search picks of them, on a GPU. Plain
// CUDA C without headers, without shared memory and without barriers; every sum has a fixed order.
//
// A thread works on one harmonic of a tile: TILE neighbouring directions under TILE shifts of one image, whose 16
// products it keeps in registers, so that 8 numbers are read for 16 products. Threads that follow each other take
// harmonics that do, and so read and write whole lines of memory.

#define TILE 4

__device__ static int last_of(int number, int count) {
    return number < count ? number : count - 1;
}

// circles : (n, rings, 2 · half), Re + Im over the first half of the circle and Re − Im over the second, of images
// under shifts; image, shift : (n); filtered : (images, rings, half); phases : (shifts, rings, half)
extern "C" __global__ void shifted_circles(const float2 *filtered, const float2 *phases, const int *image,
                                           const int *shift, int rings, int half, long long total, float *circles) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        int angle = (int)(i % half);
        long long row = i / half, n = row / rings;
        long long within = row % rings * half + angle;
        float2 value = filtered[image[n] * (long long)rings * half + within];
        float2 phase = phases[shift[n] * (long long)rings * half + within];
        float real = value.x * phase.x - value.y * phase.y;
        float imaginary = value.x * phase.y + value.y * phase.x;
        float *circle = circles + row * 2 * half + angle;
        circle[0] = real + imaginary;
        circle[half] = real - imaginary;
    }
}

// linear : (directions, rings, harmonics), square : (directions, rings, even), of the slices; circles : (·, rings,
// harmonics), of the images under shifts; ctf : (images, rings, even); even = (harmonics − 1) / 2 + 1
// slots : (images, n_shifts), where in `circles` each image's shift is; offsets : (n_shifts), added to scores
// image, row, height, first, count, start : of the rectangles, and `shifts`, as in pairs.py; start counts from `origin`
// tile_rectangle, tile_first : (tiles), a rectangle, and the first of its shifts in the tile
// products : (pairs, harmonics), whose unnormalised inverse transform are the scores; scale : 1 / angles
extern "C" __global__ void pair_products(const float2 *linear, const float2 *square, const float2 *circles,
                                         const float2 *ctf, const int *slots, const float *offsets, int n_shifts,
                                         const int *image, const int *row, const int *height, const int *first,
                                         const int *count, const long long *start, long long origin, const int *shifts,
                                         const int *tile_rectangle, const int *tile_first, int rings, int harmonics,
                                         long long total, float scale, float2 *products) {
    int even = (harmonics - 1) / 2 + 1;
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        int m = (int)(i % harmonics), u = tile_rectangle[i / harmonics], from = tile_first[i / harmonics];
        int rows = height[u], columns = count[u];
        // beyond the rectangle's rim its last row and column are read again, and not written
        const float2 *direction = linear + (long long)row[u] * rings * harmonics + m;
        const float2 *moved[TILE];
        int next[TILE];
#pragma unroll
        for (int k = 0; k < TILE; k++) {
            next[k] = last_of(k, rows) * rings * harmonics;
            int slot = slots[(long long)image[u] * n_shifts + shifts[first[u] + last_of(from + k, columns)]];
            moved[k] = circles + (long long)slot * rings * harmonics + m;
        }
        float2 sums[TILE][TILE];
#pragma unroll
        for (int k = 0; k < TILE; k++)
#pragma unroll
            for (int j = 0; j < TILE; j++)
                sums[k][j].x = sums[k][j].y = 0.0f;
        for (int r = 0; r < rings; r++) {
            float2 d[TILE], y[TILE];
#pragma unroll
            for (int k = 0; k < TILE; k++) {
                d[k] = direction[next[k]];
                y[k] = *moved[k];
                moved[k] += harmonics;
            }
            direction += harmonics;
#pragma unroll
            for (int k = 0; k < TILE; k++)
#pragma unroll
                for (int j = 0; j < TILE; j++) {
                    sums[k][j].x += d[k].x * y[j].x + d[k].y * y[j].y;
                    sums[k][j].y += d[k].y * y[j].x - d[k].x * y[j].y;
                }
        }
        // a function of period π has only even harmonics
        float2 less[TILE];
#pragma unroll
        for (int k = 0; k < TILE; k++)
            less[k].x = less[k].y = 0.0f;
        if (m % 2 == 0) {
            const float2 *transfer = ctf + (long long)image[u] * rings * even + m / 2;
            const float2 *power = square + (long long)row[u] * rings * even + m / 2;
            for (int r = 0; r < rings; r++) {
                float2 c = transfer[r * even];
#pragma unroll
                for (int k = 0; k < TILE; k++) {
                    float2 s = power[(last_of(k, rows) * rings + r) * even];
                    less[k].x += s.x * c.x + s.y * c.y;
                    less[k].y += s.y * c.x - s.x * c.y;
                }
            }
        }
#pragma unroll
        for (int k = 0; k < TILE; k++)
#pragma unroll
            for (int j = 0; j < TILE; j++)
                if (k < rows && from + j < columns) {
                    float2 product;
                    product.x = scale * (sums[k][j].x - 2.0f * less[k].x);
                    product.y = scale * (sums[k][j].y - 2.0f * less[k].y);
                    if (m == 0)
                        product.x += offsets[shifts[first[u] + from + j]];
                    long long pair = start[u] - origin + (long long)k * columns + from + j;
                    products[pair * harmonics + m] = product;
                }
    }
}

// partial : (n, lanes), the largest of each lane's values of a segment; starts : (n + 1)
extern "C" __global__ void segment_max(const float *values, const long long *starts, long long n, int lanes,
                                       float *partial) {
    long long total = n * lanes, stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        float most = -3.402823466e38f;
        for (long long p = starts[i / lanes] + i % lanes; p < starts[i / lanes + 1]; p += lanes)
            most = values[p] > most ? values[p] : most;
        partial[i] = most;
    }
}

// partial : (n, lanes), the sum of each lane's values of a segment
extern "C" __global__ void segment_sum(const double *values, const long long *starts, long long n, int lanes,
                                       double *partial) {
    long long total = n * lanes, stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        double sum = 0.0;
        for (long long p = starts[i / lanes] + i % lanes; p < starts[i / lanes + 1]; p += lanes)
            sum += values[p];
        partial[i] = sum;
    }
}

// partial : (2, pairs, lanes), of the scores (pairs, angles) that are not below `least` of their image each lane's
// Σ exp(score − best), and the same times (score − best)
extern "C" __global__ void pair_masses(const float *scores, const int *image, const float *best, const float *least,
                                       int angles, long long pairs, int lanes, float *partial) {
    long long total = pairs * lanes, stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        const float *row = scores + i / lanes * angles;
        float top = best[image[i / lanes]], bottom = least[image[i / lanes]];
        float mass = 0.0f, moment = 0.0f;
        for (int a = (int)(i % lanes); a < angles; a += lanes)
            if (row[a] >= bottom) {
                float below = row[a] - top, weight = expf(below);
                mass += weight;
                moment += weight * below;
            }
        partial[i] = mass;
        partial[total + i] = moment;
    }
}

// histogram : (images, bins), how many scores lie so far below the best of their image, a bin for each `width` nats
extern "C" __global__ void score_counts(const float *scores, const int *image, const float *best, const float *least,
                                        int angles, long long total, int bins, float width,
                                        unsigned long long *histogram) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        int n = image[i / angles];
        if (scores[i] < least[n])
            continue;
        int bin = (int)((best[n] - scores[i]) / width);
        bin = bin < 0 ? 0 : bin >= bins ? bins - 1 : bin;
        atomicAdd(histogram + (long long)n * bins + bin, 1ULL);
    }
}

// angle : (draws), the angle of a pair's scores at which Σ exp(score − best) passes `mass`; row : (draws), which scores
extern "C" __global__ void draw_angles(const float *scores, const int *row, const int *image, const float *mass,
                                       const float *best, const float *least, int angles, long long draws,
                                       int *angle) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < draws; i += stride) {
        const float *of = scores + (long long)row[i] * angles;
        float top = best[image[i]], bottom = least[image[i]], sum = 0.0f;
        int found = -1, highest = 0;
        for (int a = 0; a < angles && (found < 0 || sum < mass[i]); a++) {
            if (of[a] >= bottom) {
                sum += expf(of[a] - top);
                found = a;
            }
            highest = of[a] > of[highest] ? a : highest;
        }
        angle[i] = found < 0 ? highest : found;
    }
}
