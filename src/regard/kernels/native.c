/* Work that PyTorch's operators leave to single threads, do in many passes, or drown in their own overhead.
 *
 *     linear_f32, linear_bf16, linear_int8, linear_int4     y = x @ w.T + bias: each weight is read once, by all threads
 *     rms_norm                                              the step between the products
 *     store_rows, attend_rows                               one layer's attention over runs of slots
 *     quantise_rows, finish_rows                            what stands before and after an integer product of many rows
 *     gelu_rows, silu_rows                                  the nonlinear step between two products of many rows
 *     turn_rows, turn_rows_backward                         norm and rotation of many rows of queries or keys
 *     attend_tiles, attend_tiles_backward                   attention of many rows (native_attention.c)
 *
 * Plain C but for one loop here and the tiles: the compiler turns the inner loops into whatever vector instructions the machine has
 * (kernels/native.py compiles this file on the machine that runs it). All sums are in float32. A `kind` says what a row of activations
 * is: 0 float32, 1 bfloat16; rows are widened to float32 first and rounded once at the end.
 *
 * Letters: M rows of x, K inputs, N outputs of a product; R rows, H heads, J key heads, D head_dim, S slots.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

enum { F32, BF16 };
#define BLOCK 64 /* outputs that a thread takes at a time */
#define AHEAD 8192 /* bytes */

static inline float widen(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline uint16_t narrow(float value) { /* round to nearest, ties to even; NaN stays NaN */
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 64);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void load(float *to, const void *from, long count, int kind) {
    if (kind == F32) memcpy(to, from, count * 4);
    else for (long i = 0; i < count; i++) to[i] = widen(((const uint16_t *)from)[i]);
}

static void store(void *to, const float *from, long count, int kind) {
    if (kind == F32) memcpy(to, from, count * 4);
    else for (long i = 0; i < count; i++) ((uint16_t *)to)[i] = narrow(from[i]);
}

static inline void put(void *to, long at, float value, int kind) {
    if (kind == F32) ((float *)to)[at] = value;
    else ((uint16_t *)to)[at] = narrow(value);
}

static inline float dot_f32(const float *x, const float *w, long count) {
    float sum = 0;
    for (long i = 0; i < count; i++) sum += x[i] * w[i];
    return sum;
}

static inline float dot_bf16(const float *x, const uint16_t *w, long count) {
    float sum = 0;
    for (long i = 0; i < count; i++) sum += x[i] * widen(w[i]);
    return sum;
}

static inline float dot_int8(const float *x, const int8_t *w, long count) {
    float sum = 0;
    for (long i = 0; i < count; i++) sum += x[i] * (float)w[i];
    return sum;
}

/* Ask for what is needed some rows later: at the end of a page the machine's own prefetcher stops. */
static inline void ask_for(const void *row, long bytes) {
    for (long at = 0; at < bytes; at += 64) __builtin_prefetch((const char *)row + at);
}

/* The rows of x as float32: themselves, or a copy that the caller frees. */
static float *widened_rows(const void *x, long count, int kind) {
    if (kind == F32) return (float *)x;
    float *rows = malloc(count * 4);
    load(rows, x, count, kind);
    return rows;
}

#define LINEAR(NAME, WEIGHT, DOT, SCALE)                                                                             \
    void NAME(const void *x, const WEIGHT *w, const float *scale, const float *bias, void *y, long M, long N,         \
              long K, int kind, int threads) {                                                                        \
        float *rows = widened_rows(x, M * K, kind);                                                                   \
        _Pragma("omp parallel for schedule(static) num_threads(threads) if (N > BLOCK)")                             \
        for (long first = 0; first < N; first += BLOCK)                                                               \
            for (long n = first; n < N && n < first + BLOCK; n++) {                                                   \
                ask_for(w + n * K + AHEAD / sizeof *w, K * sizeof *w);                                                \
                for (long m = 0; m < M; m++) {                                                                        \
                    float value = DOT(rows + m * K, w + n * K, K) * SCALE;                                            \
                    put(y, m * N + n, bias ? value + bias[n] : value, kind);                                          \
                }                                                                                                     \
            }                                                                                                         \
        if (kind != F32) free(rows);                                                                                  \
    }

LINEAR(linear_f32, float, dot_f32, 1)
LINEAR(linear_bf16, uint16_t, dot_bf16, 1)
LINEAR(linear_int8, int8_t, dot_int8, scale[n])

/* Codes of two groups, in the low and the high halves of the bytes, times the rows of x that belong to them. */
static inline float dot_int4(const uint8_t *codes, const int8_t *low, const int8_t *high, float low_factor,
                             float high_factor, long group) {
    int32_t low_sum = 0, high_sum = 0;
    for (long k = 0; k < group; k++) low_sum += (int32_t)(uint8_t)(codes[k] & 15) * (int32_t)low[k];
    for (long k = 0; k < group; k++) high_sum += (int32_t)(uint8_t)(codes[k] >> 4) * (int32_t)high[k];
    return low_factor * (float)low_sum + high_factor * (float)high_sum;
}

/* A whole row of them: the sum over pairs of groups. factor[g] is for group g, `half` inputs after the pair's first. */
static inline float dot_row_int4(const uint8_t *codes, const int8_t *x, const float *factor, long pairs, long group) {
    long half = pairs * group;
#if defined(__AVX512VNNI__) && defined(__AVX512F__)
    if (group % 64 == 0) { /* the lanes are added once a row, not once a group */
        __m512 sum = _mm512_setzero_ps();
        __m512i fifteen = _mm512_set1_epi8(15);
        for (long p = 0; p < pairs; p++) {
            __m512i low = _mm512_setzero_si512(), high = _mm512_setzero_si512();
            for (long k = p * group; k < (p + 1) * group; k += 64) {
                __m512i two = _mm512_loadu_si512(codes + k);
                __m512i upper = _mm512_and_si512(_mm512_srli_epi16(two, 4), fifteen);
                low = _mm512_dpbusd_epi32(low, _mm512_and_si512(two, fifteen), _mm512_loadu_si512(x + k));
                high = _mm512_dpbusd_epi32(high, upper, _mm512_loadu_si512(x + half + k));
            }
            sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(low), _mm512_set1_ps(factor[p]), sum);
            sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(high), _mm512_set1_ps(factor[p + pairs]), sum);
        }
        return _mm512_reduce_add_ps(sum);
    }
#endif
    float value = 0;
    for (long p = 0; p < pairs; p++) {
        const int8_t *low = x + p * group;
        value += dot_int4(codes + p * group, low, low + half, factor[p], factor[p + pairs], group);
    }
    return value;
}

/* 4-bit codes: byte j of a row holds input j in its low half and input j + half in its high half, where half is a whole
 * number of groups; weight = (code - 8) * scale + zero per group. Rows of x are rounded to 8 bits per group, so that a
 * group is one integer dot product; the group's zero multiplies the exact sum. */
void linear_int4(const void *x, const uint8_t *codes, const uint16_t *scale, const uint16_t *zero, const float *bias,
                 void *y, long M, long N, long K, long group, int kind, int threads) {
    long G = (K + group - 1) / group, width = G * group, half = width / 2;
    float *rows = widened_rows(x, M * K, kind);
    int8_t *x8 = calloc(M * width, 1);
    float *step = malloc(M * G * 4), *sum = malloc(M * G * 4), *offset = malloc(M * G * 4);
    for (long i = 0; i < M * G; i++) {
        long m = i / G, first = i % G * group, count = first + group < K ? group : K - first;
        const float *part = rows + m * K + first;
        int8_t *part8 = x8 + m * width + first;
        float most = 0, total = 0;
        int32_t total8 = 0;
        for (long k = 0; k < count; k++) most = fmaxf(most, fabsf(part[k]));
        for (long k = 0; k < count; k++) total += part[k];
        float inverse = most > 0 ? 127 / most : 0;
        for (long k = 0; k < count; k++) part8[k] = (int8_t)lrintf(part[k] * inverse);
        for (long k = 0; k < count; k++) total8 += part8[k];
        step[i] = most / 127;
        sum[i] = total;
        offset[i] = -8 * step[i] * (float)total8;
    }
#pragma omp parallel for schedule(static) num_threads(threads) if (N > BLOCK)
    for (long first = 0; first < N; first += BLOCK) {
        float factor[G];
        for (long n = first; n < N && n < first + BLOCK; n++) {
            const uint16_t *scales = scale + n * G;
            ask_for(codes + n * half + AHEAD, half);
            for (long m = 0; m < M; m++) {
                for (long g = 0; g < G; g++) factor[g] = widen(scales[g]) * step[m * G + g];
                float value = dot_row_int4(codes + n * half, x8 + m * width, factor, G / 2, group);
                value += dot_bf16(offset + m * G, scales, G) + dot_bf16(sum + m * G, zero + n * G, G);
                put(y, m * N + n, bias ? value + bias[n] : value, kind);
            }
        }
    }
    free(x8), free(step), free(sum), free(offset);
    if (kind != F32) free(rows);
}

/* y = x / sqrt(mean(x^2) + eps) * gain, for M rows of K. */
void rms_norm(const void *x, const float *gain, void *y, long M, long K, float eps, int kind, int threads) {
    long size = K * (kind == F32 ? 4 : 2);
#pragma omp parallel num_threads(threads) if (M * K > 32768)
    {
        float *row = malloc(K * 4);
#pragma omp for schedule(static)
        for (long m = 0; m < M; m++) {
            load(row, (const char *)x + m * size, K, kind);
            float factor = 1 / sqrtf(dot_f32(row, row, K) / (float)K + eps);
            for (long k = 0; k < K; k++) row[k] *= factor * gain[k];
            store((char *)y + m * size, row, K, kind);
        }
        free(row);
    }
}

/* One row of heads: normalise, scale by the gain, rotate. cos and sin have D values, both halves alike. */
static void rotate(float *head, const float *cosine, const float *sine, long D) {
    for (long d = 0; d < D / 2; d++) {
        float first = head[d], second = head[d + D / 2];
        head[d] = first * cosine[d] - second * sine[d];
        head[d + D / 2] = second * cosine[d] + first * sine[d];
    }
}

static void turn(float *head, const float *gain, const float *cosine, const float *sine, long D, float eps) {
    float factor = 1 / sqrtf(dot_f32(head, head, D) / (float)D + eps);
    for (long d = 0; d < D; d++) head[d] *= factor * gain[d];
    rotate(head, cosine, sine, D);
}

/* Rows (M, H, D) in bfloat16, `step` values from one row to the next: each head normalised, if there is a gain, and
 * rotated. cosine and sine (M, D); out (M, H, D). */
void turn_rows(const uint16_t *x, const float *gain, const float *cosine, const float *sine, uint16_t *out, long M,
               long H, long D, long step, float eps, int threads) {
#pragma omp parallel num_threads(threads) if (M * H * D > 32768)
    {
        float *head = malloc(D * 4);
#pragma omp for schedule(static)
        for (long m = 0; m < M; m++)
            for (long h = 0; h < H; h++) {
                load(head, x + m * step + h * D, D, BF16);
                if (gain) turn(head, gain, cosine + m * D, sine + m * D, D, eps);
                else rotate(head, cosine + m * D, sine + m * D, D);
                store(out + (m * H + h) * D, head, D, BF16);
            }
        free(head);
    }
}

/* The gradient `grad` (M, H, D) of turn_rows' output -> grad_x (M, H, D); what the gain gets is added to grad_gain. */
void turn_rows_backward(const uint16_t *x, const float *gain, const float *cosine, const float *sine,
                        const uint16_t *grad, uint16_t *grad_x, float *grad_gain, long M, long H, long D, long step,
                        float eps, int threads) {
#pragma omp parallel num_threads(threads) if (M * H * D > 32768)
    {
        float *head = calloc(3 * D, 4), *back = head + D, *of_gain = back + D;
#pragma omp for schedule(static)
        for (long m = 0; m < M; m++)
            for (long h = 0; h < H; h++) {
                const float *cos_m = cosine + m * D, *sin_m = sine + m * D;
                load(back, grad + (m * H + h) * D, D, BF16);
                for (long d = 0; d < D / 2; d++) {
                    float first = back[d], second = back[d + D / 2];
                    back[d] = first * cos_m[d] + second * sin_m[d];
                    back[d + D / 2] = second * cos_m[d] - first * sin_m[d];
                }
                if (gain) {
                    load(head, x + m * step + h * D, D, BF16);
                    float factor = 1 / sqrtf(dot_f32(head, head, D) / (float)D + eps), along = 0;
                    for (long d = 0; d < D; d++) {
                        head[d] *= factor;
                        of_gain[d] += back[d] * head[d];
                        back[d] *= gain[d];
                        along += back[d] * head[d];
                    }
                    along /= (float)D;
                    for (long d = 0; d < D; d++) back[d] = factor * (back[d] - head[d] * along);
                }
                store(grad_x + (m * H + h) * D, back, D, BF16);
            }
        if (gain) {
#pragma omp critical
            for (long d = 0; d < D; d++) grad_gain[d] += of_gain[d];
        }
        free(head);
    }
}

/* Queries (R, H, D) are normalised and rotated into `turned` (float32); keys (R, J, D) likewise, and values, go to
 * their slots in (J, S, D). */
void store_rows(const void *q, const void *k, const void *v, const float *q_gain, const float *k_gain,
                const float *cosine, const float *sine, const int64_t *slots, float *turned, void *keys, void *values,
                long R, long H, long J, long D, long S, float eps, int kind) {
    long size = kind == F32 ? 4 : 2;
    float *head = malloc(D * 4);
    for (long r = 0; r < R; r++) {
        for (long h = 0; h < H; h++) {
            float *to = turned + (r * H + h) * D;
            load(to, (const char *)q + (r * H + h) * D * size, D, kind);
            turn(to, q_gain, cosine + r * D, sine + r * D, D, eps);
        }
        for (long j = 0; j < J; j++) {
            long from = (r * J + j) * D * size, to = (j * S + slots[r]) * D * size;
            load(head, (const char *)k + from, D, kind);
            turn(head, k_gain, cosine + r * D, sine + r * D, D, eps);
            store((char *)keys + to, head, D, kind);
            memcpy((char *)values + to, (const char *)v + from, D * size);
        }
    }
    free(head);
}

/* Row r sees the slots of the runs first[r] .. first[r + 1] - 1: `start` and `length` of each. out (R, H, D). */
void attend_rows(const float *turned, const void *keys, const void *values, const int64_t *first, const int64_t *start,
                 const int64_t *length, void *out, long R, long H, long J, long D, long S, int kind, int threads) {
    long group = H / J, size = kind == F32 ? 4 : 2, all = 0;
    for (long i = 0; i < first[R]; i++) all += length[i];
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (all * J * D > 32768)
    for (long task = 0; task < R * J; task++) {
        long r = task / J, j = task % J, num_keys = 0;
        for (int64_t i = first[r]; i < first[r + 1]; i++) num_keys += length[i];
        float *scores = malloc((group * num_keys + (group + 1) * D) * 4);
        float *mixed = scores + group * num_keys, *row = mixed + group * D;
        const float *queries = turned + (r * H + j * group) * D;
        float factor = 1 / sqrtf((float)D);
        long at = 0;
        for (int64_t i = first[r]; i < first[r + 1]; i++)
            for (int64_t slot = start[i]; slot < start[i] + length[i]; slot++, at++) {
                load(row, (const char *)keys + (j * S + slot) * D * size, D, kind);
                for (long g = 0; g < group; g++) scores[g * num_keys + at] = factor * dot_f32(queries + g * D, row, D);
            }
        for (long g = 0; g < group; g++) {
            float *own = scores + g * num_keys, most = own[0], total = 0;
            for (long s = 1; s < num_keys; s++) most = fmaxf(most, own[s]);
#pragma omp simd reduction(+ : total)
            for (long s = 0; s < num_keys; s++) total += own[s] = expf(own[s] - most);
            for (long s = 0; s < num_keys; s++) own[s] /= total;
        }
        memset(mixed, 0, group * D * 4);
        at = 0;
        for (int64_t i = first[r]; i < first[r + 1]; i++)
            for (int64_t slot = start[i]; slot < start[i] + length[i]; slot++, at++) {
                load(row, (const char *)values + (j * S + slot) * D * size, D, kind);
                for (long g = 0; g < group; g++) {
                    float weight = scores[g * num_keys + at];
                    for (long d = 0; d < D; d++) mixed[g * D + d] += weight * row[d];
                }
            }
        store((char *)out + (r * H + j * group) * D * size, mixed, group * D, kind);
        free(scores);
    }
}

/* Codes of M rows of K, each by its own largest absolute value, which becomes 127; a row of zeros has a scale, too. */
void quantise_rows(const void *x, int8_t *codes, float *scale, long M, long K, int kind, int threads) {
#pragma omp parallel num_threads(threads) if (M * K > 16384)
    {
        float *row = malloc(K * 4);
#pragma omp for schedule(static)
        for (long m = 0; m < M; m++) {
            load(row, (const char *)x + m * K * (kind == F32 ? 4 : 2), K, kind);
            float most;
            int32_t bits, most_bits = 0x0da24260; /* of 1e-30; bits of positive numbers are in their order */
            for (long k = 0; k < K; k++) {
                memcpy(&bits, row + k, 4);
                bits &= 0x7fffffff;
                most_bits = bits > most_bits ? bits : most_bits;
            }
            memcpy(&most, &most_bits, 4);
            float inverse = 127 / most;
            for (long k = 0; k < K; k++) codes[m * K + k] = (int8_t)(int32_t)rintf(row[k] * inverse);
            scale[m] = most / 127;
        }
        free(row);
    }
}

/* y = product * scale[n] * row_scale[m] + bias[n], rounded once. */
void finish_rows(const int32_t *product, const float *row_scale, const float *scale, const float *bias, void *y, long M,
                 long N, int kind, int threads) {
#pragma omp parallel num_threads(threads) if (M * N > 16384)
    {
        float *row = malloc(N * 4);
#pragma omp for schedule(static)
        for (long m = 0; m < M; m++) {
            const int32_t *sum = product + m * N;
            if (bias) for (long n = 0; n < N; n++) row[n] = (float)sum[n] * scale[n] * row_scale[m] + bias[n];
            else for (long n = 0; n < N; n++) row[n] = (float)sum[n] * scale[n] * row_scale[m];
            store((char *)y + m * N * (kind == F32 ? 4 : 2), row, N, kind);
        }
        free(row);
    }
}

/* 2^x within 1e-6, in a form that the compiler turns into vectors. */
static inline float power_of_two(float x) {
    x = x < -126 ? -126 : x > 126 ? 126 : x;
    float whole = rintf(x), part = x - whole, value = 1.54035304e-4f, scale;
    value = value * part + 1.33335581e-3f;
    value = value * part + 9.61812911e-3f;
    value = value * part + 5.55041087e-2f;
    value = value * part + 2.40226507e-1f;
    value = value * part + 6.93147181e-1f;
    value = value * part + 1;
    int32_t bits = ((int32_t)whole + 127) * (1 << 23);
    memcpy(&scale, &bits, 4);
    return value * scale;
}

/* gate = gate * sigmoid(gate) * up, in place. */
void silu_rows(void *gate, const void *up, long M, long K, int kind, int threads) {
    long size = K * (kind == F32 ? 4 : 2);
#pragma omp parallel num_threads(threads) if (M * K > 16384)
    {
        float *row = malloc(K * 8), *factor = row + K;
#pragma omp for schedule(static)
        for (long m = 0; m < M; m++) {
            load(row, (char *)gate + m * size, K, kind);
            load(factor, (const char *)up + m * size, K, kind);
            for (long k = 0; k < K; k++) row[k] = row[k] * factor[k] / (1 + power_of_two(-1.44269504f * row[k]));
            store((char *)gate + m * size, row, K, kind);
        }
        free(row);
    }
}

/* GELU in its tanh form, in place: x * sigmoid(2 u), u = sqrt(2 / pi) * (x + 0.044715 x^3). */
void gelu_rows(void *x, long M, long K, int kind, int threads) {
#pragma omp parallel num_threads(threads) if (M * K > 16384)
    {
        float *row = malloc(K * 4);
#pragma omp for schedule(static)
        for (long m = 0; m < M; m++) {
            void *at = (char *)x + m * K * (kind == F32 ? 4 : 2);
            load(row, at, K, kind);
            for (long k = 0; k < K; k++) {
                float value = row[k], power = -2.3022082f * (value + 0.044715f * value * value * value); /* 2 u log2 e */
                row[k] = value / (1 + power_of_two(power));
            }
            store(at, row, K, kind);
        }
        free(row);
    }
}

#include "native_attention.c"
