/* Many rows in bfloat16 on CPUs with AVX-512's dot product of it: softmax attention as two products of tiles.
 *
 *     attend_tiles            q (B, N, T, D), k and v (B, K, S, D), N a multiple of K
 *                             -> out (B, T, N, D), log-sum-exp (B, N, T)
 *     attend_tiles_backward   the same, out, its gradient and log-sum-exp -> gradients of q (B, T, N, D), of k and v (B, S, K, D)
 *
 * Keys and values are first laid out in pairs, as the instruction multiplies them. Then a thread takes QUERIES queries
 * of one head, and KEYS keys at a time: scores in float32, their softmax as it grows (the largest score so far and the
 * sum), weights in bfloat16, mixed values in float32.
 *
 * Backward, the weights are made again from scores and log-sum-exp, twice: in rows of queries for the gradient of q,
 * and in rows of keys for those of k and v. So no thread adds to what another one writes, and nothing is transposed.
 * Left out: masks other than the causal one. Part of native.c.
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

/* WIDTH rows of D inputs, of which `count` exist, for a product over D: inputs 2p and 2p + 1 of all rows side by side. */
static void lay_inputs(uint16_t *to, const uint16_t *from, long step, long count, long D) {
    memset(to, 0, (D + 1) / 2 * WIDTH * 4);
    for (long s = 0; s < count && s < WIDTH; s++)
        for (long d = 0; d < D; d++) to[(d / 2 * WIDTH + s) * 2 + d % 2] = from[s * step + d];
}

/* The same rows for a product over the rows: rows 2p and 2p + 1 side by side, `wide` outputs each. */
static void lay_rows(uint16_t *to, const uint16_t *from, long step, long count, long D, long wide) {
    memset(to, 0, WIDTH * wide * 2);
    for (long s = 0; s < count && s < WIDTH; s++)
        for (long d = 0; d < D; d++) to[(s / 2 * wide + d) * 2 + s % 2] = from[s * step + d];
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
            long b = head / K, n = head % K, from = first * WIDTH;
            lay_inputs(laid_keys + head * key_size + from * pairs * 2, k + b * k_step[0] + n * k_step[1] + from * k_step[2],
                       k_step[2], S - from, D);
            lay_rows(laid_values + head * value_size + from * wide, v + b * v_step[0] + n * v_step[1] + from * v_step[2],
                     v_step[2], S - from, D, wide);
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

/* Weights and the gradient of their scores, for one row of scores; what is not in begin..end - 1 is not seen: 0.
 * Log-sum-exp (base 2) and `mean` (of the row's gradients by its weights) are the row's, or those of the columns. */
static void slope(const float *scores, const float *grads, uint16_t *weights, uint16_t *slopes, long begin, long end,
                  long width, float scale, const float *log_sum, const float *mean, int is_of_columns) {
    __m512 factor = _mm512_set1_ps(scale * 1.44269504f), scaled = _mm512_set1_ps(scale);
    __m512 less = _mm512_set1_ps(*log_sum), middle = _mm512_set1_ps(*mean);
    for (long s = 0; s < width; s += 16) {
        long low = begin - s, high = end - s;
        __mmask16 seen = high <= 0 || low >= 16 ? 0 : high >= 16 ? 0xffff : (__mmask16)((1 << high) - 1);
        if (low > 0) seen = low >= 16 ? 0 : seen & (__mmask16)~((1 << low) - 1);
        __m512 weight = _mm512_setzero_ps(), down = weight;
        if (seen) {
            if (is_of_columns) less = _mm512_loadu_ps(log_sum + s), middle = _mm512_loadu_ps(mean + s);
            weight = exp2_of(_mm512_sub_ps(_mm512_mul_ps(_mm512_loadu_ps(scores + s), factor), less));
            weight = _mm512_maskz_mov_ps(seen, weight);
            down = _mm512_mul_ps(_mm512_mul_ps(weight, scaled), _mm512_sub_ps(_mm512_loadu_ps(grads + s), middle));
            down = _mm512_maskz_mov_ps(seen, down);
        }
        if (weights) _mm256_storeu_si256((__m256i *)(weights + s), (__m256i)_mm512_cvtneps_pbh(weight));
        _mm256_storeu_si256((__m256i *)(slopes + s), (__m256i)_mm512_cvtneps_pbh(down));
    }
}

/* `left` (rows, pairs) times WIDTH columns after WIDTH columns of `right`, as lay_inputs lays them. */
static void score(float *out, const uint16_t *left, const uint16_t *right, long rows, long width, long pairs) {
    for (long s = 0; s < width; s += WIDTH)
        for (long r = 0; r < rows; r += ROWS)
            tile(out + r * KEYS + s, KEYS, left + r * 2 * pairs, 2 * pairs, right + s * pairs * 2, 2 * WIDTH, pairs, 0);
}

/* out += `left` (rows, width) times `right`, as lay_rows lays it. */
static void mix(float *out, const uint16_t *left, const uint16_t *right, long rows, long width, long wide) {
    for (long d = 0; d < wide; d += WIDTH)
        for (long r = 0; r < rows; r += ROWS)
            tile(out + r * wide + d, wide, left + r * KEYS, KEYS, right + 2 * d, 2 * wide, width / 2, 1);
}

static void store_rounded(uint16_t *to, long step, const float *from, long rows, long wide, long D) {
    for (long r = 0; r < rows; r++)
        for (long d = 0; d < D; d++) to[r * step + d] = narrow(from[r * wide + d]);
}

static inline long least(long a, long b) { return a < b ? a : b; }

/* q, k, v, out and its gradient have strides; `log_sum` is attend_tiles'. */
int attend_tiles_backward(const uint16_t *q, const uint16_t *k, const uint16_t *v, const uint16_t *out,
                          const uint16_t *grad, const float *log_sum, uint16_t *grad_q, uint16_t *grad_k,
                          uint16_t *grad_v, const int64_t *q_step, const int64_t *k_step, const int64_t *v_step,
                          const int64_t *out_step, const int64_t *grad_step, long B, long N, long K, long T, long S,
                          long D, int is_causal, int threads) {
    long pairs = (D + 1) / 2, wide = (D + WIDTH - 1) / WIDTH * WIDTH, group = N / K, offset = S - T;
    long rows_T = (T + WIDTH - 1) / WIDTH * WIDTH, rows_S = (S + WIDTH - 1) / WIDTH * WIDTH;
    long by_input = 2 * pairs, all = B * N * rows_T * 2 * (by_input + wide) + B * K * rows_S * (2 * by_input + wide);
    uint16_t *laid = malloc(all * 2);
    float *of_rows = calloc(2 * B * N * rows_T, 4);
    if (!laid || !of_rows) return free(laid), free(of_rows), 0;
    uint16_t *q_inputs = laid, *grad_inputs = q_inputs + B * N * rows_T * by_input;
    uint16_t *q_rows = grad_inputs + B * N * rows_T * by_input, *grad_rows = q_rows + B * N * rows_T * wide;
    uint16_t *k_inputs = grad_rows + B * N * rows_T * wide, *v_inputs = k_inputs + B * K * rows_S * by_input;
    uint16_t *k_rows = v_inputs + B * K * rows_S * by_input;
    float *means = of_rows, *log_sums = of_rows + B * N * rows_T, scale = 1 / sqrtf((float)D);
    long blocks_T = (T + QUERIES - 1) / QUERIES, blocks_S = (S + QUERIES - 1) / QUERIES;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static) collapse(2)
        for (long head = 0; head < B * N; head++)
            for (long from = 0; from < rows_T; from += WIDTH) {
                long b = head / N, n = head % N, at = head * rows_T + from;
                const uint16_t *query = q + b * q_step[0] + n * q_step[1] + from * q_step[2];
                const uint16_t *slope_of = grad + b * grad_step[0] + n * grad_step[1] + from * grad_step[2];
                const uint16_t *value = out + b * out_step[0] + n * out_step[1] + from * out_step[2];
                lay_inputs(q_inputs + at * by_input, query, q_step[2], T - from, D);
                lay_rows(q_rows + at * wide, query, q_step[2], T - from, D, wide);
                lay_inputs(grad_inputs + at * by_input, slope_of, grad_step[2], T - from, D);
                lay_rows(grad_rows + at * wide, slope_of, grad_step[2], T - from, D, wide);
                for (long r = 0; r < WIDTH && from + r < T; r++) {
                    float sum = 0;
                    for (long d = 0; d < D; d++)
                        sum += widen(slope_of[r * grad_step[2] + d]) * widen(value[r * out_step[2] + d]);
                    means[at + r] = sum;
                    log_sums[at + r] = log_sum[head * T + from + r] * 1.44269504f;
                }
            }
#pragma omp for schedule(static) collapse(2)
        for (long head = 0; head < B * K; head++)
            for (long from = 0; from < rows_S; from += WIDTH) {
                long b = head / K, n = head % K, at = head * rows_S + from;
                const uint16_t *key = k + b * k_step[0] + n * k_step[1] + from * k_step[2];
                const uint16_t *value = v + b * v_step[0] + n * v_step[1] + from * v_step[2];
                lay_inputs(k_inputs + at * by_input, key, k_step[2], S - from, D);
                lay_rows(k_rows + at * wide, key, k_step[2], S - from, D, wide);
                lay_inputs(v_inputs + at * by_input, value, v_step[2], S - from, D);
            }
        long size = QUERIES * (2 * KEYS * 4 + 2 * KEYS * 2 + 2 * wide * 4 + 2 * by_input * 2);
        char *room = malloc(size);
        float *scores = (float *)room, *grads = scores + QUERIES * KEYS;
        float *first_sum = grads + QUERIES * KEYS, *second_sum = first_sum + QUERIES * wide;
        uint16_t *weights = (uint16_t *)(second_sum + QUERIES * wide), *slopes = weights + QUERIES * KEYS;
        uint16_t *first_rows = slopes + QUERIES * KEYS, *second_rows = first_rows + QUERIES * by_input;
#pragma omp for schedule(dynamic)
        for (long task = 0; task < B * N * blocks_T; task++) { /* rows are queries: the gradient of q */
            long b = task / blocks_T / N, n = task / blocks_T % N, first = task % blocks_T * QUERIES;
            long rows = least(T - first, QUERIES), head = b * N + n, key_head = b * K + n / group;
            long last = is_causal ? first + rows + offset : S;
            memset(room, 0, size);
            for (long r = 0; r < rows; r++) {
                memcpy(first_rows + r * by_input, q + b * q_step[0] + n * q_step[1] + (first + r) * q_step[2], D * 2);
                memcpy(second_rows + r * by_input,
                       grad + b * grad_step[0] + n * grad_step[1] + (first + r) * grad_step[2], D * 2);
            }
            for (long from = 0; from < last; from += KEYS) {
                long count = least(last - from, KEYS), width = (count + WIDTH - 1) / WIDTH * WIDTH;
                long at = key_head * rows_S + from;
                score(scores, first_rows, k_inputs + at * by_input, rows, width, pairs);
                score(grads, second_rows, v_inputs + at * by_input, rows, width, pairs);
                for (long r = 0; r < rows; r++) {
                    long seen = is_causal ? least(first + r + 1 + offset - from, count) : count;
                    long row = head * rows_T + first + r;
                    slope(scores + r * KEYS, grads + r * KEYS, NULL, slopes + r * KEYS, 0, seen, width, scale,
                          log_sums + row, means + row, 0);
                }
                mix(first_sum, slopes, k_rows + at * wide, rows, width, wide);
            }
            store_rounded(grad_q + ((b * T + first) * N + n) * D, N * D, first_sum, rows, wide, D);
        }
#pragma omp for schedule(dynamic)
        for (long task = 0; task < B * K * blocks_S; task++) { /* rows are keys: the gradients of k and v */
            long b = task / blocks_S / K, j = task / blocks_S % K, first = task % blocks_S * QUERIES;
            long rows = least(S - first, QUERIES), begin = is_causal && first > offset ? first - offset : 0;
            memset(room, 0, size);
            for (long r = 0; r < rows; r++) {
                memcpy(first_rows + r * by_input, k + b * k_step[0] + j * k_step[1] + (first + r) * k_step[2], D * 2);
                memcpy(second_rows + r * by_input, v + b * v_step[0] + j * v_step[1] + (first + r) * v_step[2], D * 2);
            }
            for (long head = b * N + j * group; head < b * N + (j + 1) * group; head++)
                for (long from = begin / WIDTH * WIDTH; from < T; from += KEYS) {
                    long count = least(T - from, KEYS), width = (count + WIDTH - 1) / WIDTH * WIDTH;
                    long at = head * rows_T + from;
                    score(scores, first_rows, q_inputs + at * by_input, rows, width, pairs);
                    score(grads, second_rows, grad_inputs + at * by_input, rows, width, pairs);
                    for (long r = 0; r < rows; r++)
                        slope(scores + r * KEYS, grads + r * KEYS, weights + r * KEYS, slopes + r * KEYS,
                              is_causal ? first + r - offset - from : 0, count, width, scale, log_sums + at, means + at, 1);
                    mix(first_sum, slopes, q_rows + at * wide, rows, width, wide);
                    mix(second_sum, weights, grad_rows + at * wide, rows, width, wide);
                }
            store_rounded(grad_k + ((b * S + first) * K + j) * D, K * D, first_sum, rows, wide, D);
            store_rounded(grad_v + ((b * S + first) * K + j) * D, K * D, second_sum, rows, wide, D);
        }
        free(room);
    }
    free(laid), free(of_rows);
    return 1;
}

#else

int attend_tiles(const uint16_t *q, const uint16_t *k, const uint16_t *v, uint16_t *out, float *log_sum,
                 const int64_t *q_step, const int64_t *k_step, const int64_t *v_step, long B, long N, long K, long T,
                 long S, long D, int is_causal, int threads) {
    return 0; /* nothing was done */
}

int attend_tiles_backward(const uint16_t *q, const uint16_t *k, const uint16_t *v, const uint16_t *out,
                          const uint16_t *grad, const float *log_sum, uint16_t *grad_q, uint16_t *grad_k,
                          uint16_t *grad_v, const int64_t *q_step, const int64_t *k_step, const int64_t *v_step,
                          const int64_t *out_step, const int64_t *grad_step, long B, long N, long K, long T, long S,
                          long D, int is_causal, int threads) {
    return 0; /* nothing was done */
}

#endif
