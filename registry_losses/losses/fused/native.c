/* The pass of a sigmoid loss over all its logits as negatives: value and gradient at once.
 *
 * Compiled on request by native.py, which sets
 *   GAMMA, POLY  constants of the loss, as float literals
 *   POWER        GAMMA where that is an integer from 0 to 4, else -1
 *   DTYPE        of logits and gradient: 0 float32, 1 bfloat16, 2 float16
 *
 * With t = e^-|x| one division gives the rest:
 *   1 / (1 + t)  is the larger of p and 1 - p, t / (1 + t) the smaller,
 *   log(1 + t) = 2 atanh(t / (2 + t)), to the last digits for small t too.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#if DTYPE == 0
typedef float logit_t;
static inline float load(logit_t v) { return v; }
static inline logit_t store(float v) { return v; }
#elif DTYPE == 1
typedef uint16_t logit_t;
static inline float load(logit_t v) {
    uint32_t bits = (uint32_t)v << 16;
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}
static inline logit_t store(float v) { /* to the nearest, ties to even */
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (logit_t)(v != v ? 0x7fc0u : rounded);
}
#else
typedef uint16_t logit_t;
static inline float load(logit_t v) { /* compilers do not vectorise _Float16 everywhere */
    uint32_t bits = (uint32_t)(v & 0x7fffu) << 13;
    float out;
    memcpy(&out, &bits, sizeof out);
    out *= 0x1p112f; /* the exponents' offsets differ by 127 - 15 */
    memcpy(&bits, &out, sizeof bits);
    bits |= out >= 65536.0f ? 0x7f800000u : 0u; /* infinite, or not a number */
    bits |= (uint32_t)(v & 0x8000u) << 16;
    memcpy(&out, &bits, sizeof out);
    return out;
}
static inline logit_t store(float v) { /* to the nearest, ties to even */
    float size = fabsf(v), shifted = size + 0.5f;
    uint32_t bits, small, sign;
    memcpy(&sign, &v, sizeof sign);
    memcpy(&bits, &size, sizeof bits);
    memcpy(&small, &shifted, sizeof small); /* the addition rounds to half's denormals */
    uint32_t half = (bits - 0x38000000u + 0xfffu + ((bits >> 13) & 1u)) >> 13;
    half = size < 0x1p-14f ? small - 0x3f000000u : half;
    half = size >= 65520.0f ? 0x7c00u : half;
    half = size != size ? 0x7e00u : half;
    return (logit_t)(half | ((sign >> 16) & 0x8000u));
}
#endif

/* Elements worked on at a time: what they need stays in the first-level cache. */
#define BLOCK 2048
#define PART 256

/* e^x for |x| <= 87, to 1.2e-7; polynomial of least relative error on |r| <= ln(2) / 2. */
static inline float exponential(float x) {
    float n = rintf(x * 1.44269504f);
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float y = 1.3836741e-3f;
    y = y * r + 8.3748987e-3f;
    y = y * r + 4.1668233e-2f;
    y = y * r + 0.16666420f;
    y = y * r + 0.49999991f;
    y = y * r + 1.0f;
    y = y * r + 1.0f;
    int32_t bits = ((int32_t)n + 127) * 8388608;
    float power;
    memcpy(&power, &bits, sizeof power);
    return y * power;
}

/* atanh(z) / z for z = sqrt(square) <= 1/3, to 4e-9. */
static inline float atanh_ratio(float square) {
    float y = 0.14089167f;
    y = y * square + 0.13980300f;
    y = y * square + 0.20012455f;
    y = y * square + 0.33333158f;
    return y * square + 1.0f;
}

/* The losses of up to BLOCK logits, and their gradients times scale. */
static inline __attribute__((always_inline)) void block(
    const logit_t *restrict x, logit_t *restrict grad, const float *restrict weight,
    float *restrict loss, int n, float scale, const int need_grad, const int weighted) {
#pragma omp simd
    for (int i = 0; i < n; i++) {
        float v = load(x[i]);
        /* Powers of p below would be denormal numbers, which are slow. */
        float low = v < -85.0f / (GAMMA + 1.0f) ? -85.0f / (GAMMA + 1.0f) : v;
        float size = fabsf(low);
        float t = exponential(size > 85.0f ? -85.0f : -size);
        float both = 1.0f / ((1.0f + t) * (2.0f + t));
        float most = (2.0f + t) * both;
        float least = t * most;
        float z = t * (1.0f + t) * both;
        float tail = 2.0f * z * atanh_ratio(z * z);
        float p = v < 0.0f ? least : most;
        float miss = v < 0.0f ? most : least;
        float s = (v < 0.0f ? 0.0f : v) + tail; /* softplus(x) */
#if POWER == 0
        float q = 1.0f;
#elif POWER == 1
        float q = p;
#elif POWER == 2
        float q = p * p;
#elif POWER == 3
        float q = p * p * p;
#elif POWER == 4
        float q = (p * p) * (p * p);
#else
        float log_q = GAMMA * ((v < 0.0f ? v : 0.0f) - tail);
        float q = exponential(log_q < -85.0f ? -85.0f : log_q);
#endif
        if (weighted) q *= weight[i];
        loss[i] = q * (s + POLY * p);
        if (need_grad) {
            float slope = p + (GAMMA * s + (GAMMA + 1.0f) * POLY * p) * miss;
            grad[i] = store(q * slope * scale);
        }
    }
}

/* The weights of the logits from start on: of their row, their class, their own. */
static inline void fill_weights(
    float *restrict weight, const float *row, const float *column, const float *full,
    int64_t start, int n, int64_t classes) {
    int done = 0;
    while (done < n) {
        int64_t r = (start + done) / classes, c = (start + done) % classes;
        int count = classes - c < n - done ? (int)(classes - c) : n - done;
        float of_row = row ? row[r] : 1.0f;
        float *out = weight + done;
        if (column)
            for (int j = 0; j < count; j++) out[j] = of_row * column[c + j];
        else
            for (int j = 0; j < count; j++) out[j] = of_row;
        if (full)
            for (int j = 0; j < count; j++) out[j] *= full[start + done + j];
        done += count;
    }
}

/* Sums of the losses of each BLOCK of the size logits, without those at the entries, which
 * are sorted; the gradient of all of them. row, column, full and grad may be NULL. */
void power_pass(
    const logit_t *x, logit_t *grad, double *sums, const float *row, const float *column,
    const float *full, const int64_t *entries, const int64_t *first_entry, int64_t size,
    int64_t classes, float scale, int threads) {
    const int64_t blocks = (size + BLOCK - 1) / BLOCK;
    const int weighted = row || column || full;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t b = 0; b < blocks; b++) {
        float loss[BLOCK], weight[BLOCK];
        const int64_t start = b * BLOCK;
        const int n = size - start < BLOCK ? (int)(size - start) : BLOCK;
        if (weighted) {
            fill_weights(weight, row, column, full, start, n, classes);
            if (grad)
                block(x + start, grad + start, weight, loss, n, scale, 1, 1);
            else
                block(x + start, 0, weight, loss, n, scale, 0, 1);
        } else {
            if (grad)
                block(x + start, grad + start, 0, loss, n, scale, 1, 0);
            else
                block(x + start, 0, 0, loss, n, scale, 0, 0);
        }
        for (int64_t k = first_entry[b]; k < first_entry[b + 1]; k++) loss[entries[k] - start] = 0.0f;
        /* Short sums in float32: over all of a block equal losses would round alike. */
        sums[b] = 0.0;
        for (int part = 0; part < n; part += PART) {
            const int end = n - part < PART ? n : part + PART;
            float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
            for (int i = part; i < end; i++) sum += loss[i];
            sums[b] += sum;
        }
    }
}
