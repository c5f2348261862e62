/* Many rows in bfloat16 on CPUs with AVX-512's dot product of it: softmax attention as two products of tiles.
 *
 *     attend_tiles     q (B, N, T, D), k and v (B, K, S, D), N a multiple of K -> out (B, T, N, D), log-sum-exp (B, N, T)
 *
 * Keys and values are first laid out in pairs, as the instruction multiplies them. Then a thread takes QUERIES queries
 * of one head, and KEYS keys at a time: scores in float32, their softmax as it grows (the largest score so far and the
 * sum), weights in bfloat16, mixed values in float32. Left out: masks other than the causal one. Part of native.c.
 */
int has_attend_tiles(void) {
#if defined(__AVX512BF16__) && defined(__AVX512F__)
    return 1;
#else
    return 0;
#endif
}

#if defined(__AVX512BF16__) && defined(__AVX512F__)

#define ROWS 6     /* of a tile, times VECTORS of 16: as many sums as fit into registers */
#define VECTORS 4
#define WIDTH 64   /* 16 * VECTORS */
#define QUERIES 48 /* of a task, a multiple of ROWS */
#define KEYS 512   /* a multiple of WIDTH; scores and weights of a task stay in the inner cache */

static inline __m512 exp2_of(__m512 x) { /* 2^x for x <= 0, relative error below 1e-6 */
    x = _mm512_max_ps(x, _mm512_set1_ps(-126));
    __m512 whole = _mm512_roundscale_ps(x, 8), part = _mm512_sub_ps(x, whole);
    __m512 value = _mm512_set1_ps(1.54035304e-4f);
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(1.33335581e-3f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(9.61812911e-3f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(5.55041087e-2f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(2.40226507e-1f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(6.93147181e-1f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(1));
    return _mm512_scalef_ps(value, whole);
}

/* out (ROWS, WIDTH) (+)= left (ROWS, 2 * pairs) @ right, whose row p holds inputs 2p and 2p + 1 side by side. */
static inline void tile(float *out, long out_step, const uint16_t *left, long left_step, const uint16_t *right,
                        long right_step, long pairs, int is_more) {
    __m512 sum[ROWS][VECTORS];
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < VECTORS; c++)
            sum[r][c] = is_more ? _mm512_loadu_ps(out + r * out_step + 16 * c) : _mm512_setzero_ps();
    for (long p = 0; p < pairs; p++) {
        __m512bh many[VECTORS];
        for (int c = 0; c < VECTORS; c++)
            many[c] = (__m512bh)_mm512_loadu_si512(right + p * right_step + 32 * c);
        for (int r = 0; r < ROWS; r++) {
            int32_t pair;
            memcpy(&pair, left + r * left_step + 2 * p, 4);
            __m512bh one = (__m512bh)_mm512_set1_epi32(pair);
            for (int c = 0; c < VECTORS; c++) sum[r][c] = _mm512_dpbf16_ps(sum[r][c], one, many[c]);
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < VECTORS; c++) _mm512_storeu_ps(out + r * out_step + 16 * c, sum[r][c]);
}

/* Scores of one row to weights; of `width` only the first `count` are seen. Returns their sum, scaled by 2^-*most. */
static float weigh(const float *scores, uint16_t *weights, long count, long width, float factor, float *most) {
    __m512 largest = _mm512_set1_ps(-INFINITY), total = _mm512_setzero_ps();
    for (long s = 0; s < count; s += 16) {
        __mmask16 seen = count - s < 16 ? (__mmask16)((1 << (count - s)) - 1) : 0xffff;
        largest = _mm512_mask_max_ps(largest, seen, largest, _mm512_loadu_ps(scores + s));
    }
    *most = fmaxf(*most, _mm512_reduce_max_ps(largest) * factor);
    __m512 scale = _mm512_set1_ps(factor), less = _mm512_set1_ps(-*most);
    for (long s = 0; s < width; s += 16) {
        __mmask16 seen = count - s < 16 ? count <= s ? 0 : (__mmask16)((1 << (count - s)) - 1) : 0xffff;
        __m512 weight = _mm512_setzero_ps();
        if (seen) weight = _mm512_maskz_mov_ps(seen, exp2_of(_mm512_fmadd_ps(_mm512_loadu_ps(scores + s), scale, less)));
        total = _mm512_add_ps(total, weight);
        _mm256_storeu_si256((__m256i *)(weights + s), (__m256i)_mm512_cvtneps_pbh(weight));
    }
    return _mm512_reduce_add_ps(total);
}

/* Strides count values; the last dimension is dense. Row t sees S keys, or the first t + 1 + S - T if `is_causal`. */
int attend_tiles(const uint16_t *q, const uint16_t *k, const uint16_t *v, uint16_t *out, float *log_sum,
                 const int64_t *q_step, const int64_t *k_step, const int64_t *v_step, long B, long N, long K, long T,
                 long S, long D, int is_causal, int threads) {
    long pairs = (D + 1) / 2, tiles = (S + WIDTH - 1) / WIDTH, wide = (D + WIDTH - 1) / WIDTH * WIDTH;
    long key_size = tiles * WIDTH * pairs * 2, value_size = tiles * WIDTH * wide;
    uint16_t *laid_keys = malloc(B * K * key_size * 2), *laid_values = malloc(B * K * value_size * 2);
    if (!laid_keys || !laid_values) return free(laid_keys), free(laid_values), 0;
#pragma omp parallel for schedule(static) collapse(2) num_threads(threads)
    for (long head = 0; head < B * K; head++)
        for (long first = 0; first < tiles; first++) {
            long b = head / K, n = head % K;
            uint16_t *keys = laid_keys + head * key_size + first * WIDTH * pairs * 2;
            uint16_t *values = laid_values + head * value_size + first * WIDTH * wide;
            memset(keys, 0, WIDTH * pairs * 4), memset(values, 0, WIDTH * wide * 2);
            for (long s = 0; s < WIDTH && first * WIDTH + s < S; s++) {
                const uint16_t *key = k + b * k_step[0] + n * k_step[1] + (first * WIDTH + s) * k_step[2];
                const uint16_t *value = v + b * v_step[0] + n * v_step[1] + (first * WIDTH + s) * v_step[2];
                for (long d = 0; d < D; d++) keys[(d / 2 * WIDTH + s) * 2 + d % 2] = key[d];
                for (long d = 0; d < D; d++) values[(s / 2 * wide + d) * 2 + s % 2] = value[d];
            }
        }
    long blocks = (T + QUERIES - 1) / QUERIES;
    float factor = 1.44269504f / sqrtf((float)D);
#pragma omp parallel num_threads(threads)
    {
        long size = QUERIES * (2 * pairs * 2 + KEYS * 4 + KEYS * 2 + wide * 4);
        char *room = malloc(size);
        float *scores = (float *)room, *mixed = scores + QUERIES * KEYS;
        uint16_t *weights = (uint16_t *)(mixed + QUERIES * wide), *queries = weights + QUERIES * KEYS;
#pragma omp for schedule(dynamic)
        for (long task = 0; task < B * N * blocks; task++) {
            long b = task / blocks / N, n = task / blocks % N, first = task % blocks * QUERIES;
            long rows = T - first < QUERIES ? T - first : QUERIES, head = b * K + n / (N / K);
            long last = is_causal ? first + rows + S - T : S;
            float most[QUERIES], total[QUERIES];
            memset(room, 0, size);
            for (long r = 0; r < rows; r++)
                memcpy(queries + r * 2 * pairs, q + b * q_step[0] + n * q_step[1] + (first + r) * q_step[2], D * 2);
            for (long r = 0; r < QUERIES; r++) most[r] = -INFINITY, total[r] = 0;
            for (long from = 0; from < last; from += KEYS) {
                long count = last - from < KEYS ? last - from : KEYS, width = (count + WIDTH - 1) / WIDTH * WIDTH;
                const uint16_t *keys = laid_keys + head * key_size + from * pairs * 2;
                const uint16_t *values = laid_values + head * value_size + from * wide;
                for (long s = 0; s < width; s += WIDTH)
                    for (long r = 0; r < rows; r += ROWS)
                        tile(scores + r * KEYS + s, KEYS, queries + r * 2 * pairs, 2 * pairs, keys + s * pairs * 2,
                             2 * WIDTH, pairs, 0);
                for (long r = 0; r < rows; r++) {
                    long seen = is_causal ? first + r + 1 + S - T - from : count;
                    seen = seen < 0 ? 0 : seen > count ? count : seen;
                    float before = most[r];
                    float sum = weigh(scores + r * KEYS, weights + r * KEYS, seen, width, factor, &most[r]);
                    float less = before == -INFINITY ? 0 : exp2f(before - most[r]);
                    total[r] = total[r] * less + sum;
                    if (less != 1)
                        for (long d = 0; d < wide; d++) mixed[r * wide + d] *= less;
                }
                for (long d = 0; d < wide; d += WIDTH)
                    for (long r = 0; r < rows; r += ROWS)
                        tile(mixed + r * wide + d, wide, weights + r * KEYS, KEYS, values + 2 * d, 2 * wide,
                             width / 2, 1);
            }
            for (long r = 0; r < rows; r++) {
                float less = 1 / total[r];
                uint16_t *to = out + ((b * T + first + r) * N + n) * D;
                for (long d = 0; d < D; d++) to[d] = narrow(mixed[r * wide + d] * less);
                if (log_sum) log_sum[(b * N + n) * T + first + r] = (most[r] + log2f(total[r])) / 1.44269504f;
            }
        }
        free(room);
    }
    free(laid_keys), free(laid_values);
    return 1;
}

#else

int attend_tiles(const uint16_t *q, const uint16_t *k, const uint16_t *v, uint16_t *out, float *log_sum,
                 const int64_t *q_step, const int64_t *k_step, const int64_t *v_step, long B, long N, long K, long T,
                 long S, long D, int is_causal, int threads) {
    return 0; /* nothing was done */
}

#endif
