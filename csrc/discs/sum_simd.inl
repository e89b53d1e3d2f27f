// Inner loops of sums over discs on raw pointers.
namespace cnnfast::discs {
namespace {

// Vectors of every output row that are summed together. Few, so that the cache lines that they read of all packed rows
// stay in the first-level cache; with kRowsAtOnce output rows still enough independent additions to hide their latency.
constexpr int kRowVectors = 2;

template <typename E>
static inline vector_t<accumulate_t<E>> load_strided(const E* p, int64_t stride, int64_t count) {
  constexpr int lanes = kLanes<accumulate_t<E>>;
  if (count >= lanes && stride == 1) return load(p);
  E buffer[lanes] = {};
  for (int64_t i = 0; i < count && i < lanes; ++i) buffer[i] = p[i * stride];
  return load(buffer);
}

// -log(1 - b) for b <= 1 - 1e-6. With u = 1 - b rounded: the logarithm of u (Cephes, logf) plus the rounding error
// (1 - u) - b divided by u. The error matters where u is near 1, where 2 - u stands for 1 / u. NaN stays NaN.
static inline vector_float evidence(vector_float b) {
  const vector_float u = 1 - b, rest = (1 - u) - b;
  Vector<float>::bits bits;
  __builtin_memcpy(&bits, &u, sizeof bits);
  // u = m 2^e with m in [sqrt(1/2), sqrt(2))
  const Vector<float>::bits shifted = bits - 0x3f3504f3u;
  const Vector<float>::index exponent = Vector<float>::index(shifted) >> 23;
  const Vector<float>::bits mantissa = (shifted & 0x007fffffu) + 0x3f3504f3u;
  vector_float m;
  __builtin_memcpy(&m, &mantissa, sizeof m);
  const vector_float t = m - 1, z = t * t, e = __builtin_convertvector(exponent, vector_float);
  vector_float y = t * 7.0376836292e-2f - 1.1514610310e-1f;
  y = y * t + 1.1676998740e-1f;
  y = y * t - 1.2420140846e-1f;
  y = y * t + 1.4249322787e-1f;
  y = y * t - 1.6668057665e-1f;
  y = y * t + 2.0000714765e-1f;
  y = y * t - 2.4999993993e-1f;
  y = y * t + 3.3333331174e-1f;
  y = y * t * z - 2.12194440e-4f * e - 0.5f * z;
  const vector_float inverse = u < 2 ? 2 - u : vector_float{};
  return -(rest * inverse + y + t + 0.693359375f * e);
}
static inline vector_double evidence(vector_double b) {
  for (int i = 0; i < kLanes<double>; ++i) b[i] = -__builtin_log1p(-b[i]);
  return b;
}

// The smaller of b and 1 - least; NaN stays NaN.
template <typename T>
static inline vector_t<T> kept_below_one(vector_t<T> b, double least) {
  const vector_t<T> limit = vector_t<T>{} + T(1 - least);
  return b > limit ? limit : b;
}

template <typename E>
static void pack_bins(const E* source, int64_t stride, int64_t count, int64_t padded, accumulate_t<E> factor,
                      bool noisy_or, accumulate_t<E> filler, accumulate_t<E>* row) {
  using T = accumulate_t<E>;
  constexpr int lanes = kLanes<T>;
  constexpr int64_t ahead = 1024 / int64_t(sizeof(E));  // mostly of the next row, which is packed next
  for (int64_t x = 0; x < padded; x += lanes) {
    __builtin_prefetch(source + (x + ahead) * stride, 0, 2);
    vector_t<T> v = load_strided(source + x * stride, stride, count - x);
    v = noisy_or ? evidence(kept_below_one<T>(v, Uncertainty<E>::value)) : v * factor;
    store(row + x, v);
  }
  for (int64_t x = count; x < padded; ++x) row[x] = filler;
}

// Several vectors as one object, so that their offsets are constants: GCC keeps separate pointers in registers each, or
// spills them to the stack.
template <typename T, int Vectors>
struct __attribute__((may_alias)) RowPart {
  typedef T vector __attribute__((vector_size(CNNFAST_VECTOR_BYTES), aligned(alignof(T)), may_alias));
  vector vectors[Vectors];
};
template <int Vectors, typename T>
static inline const RowPart<T, Vectors>& row_part(const T* p) {
  return *reinterpret_cast<const RowPart<T, Vectors>*>(p);
}

// Prefetches a few lines: a burst would fill the processor's line fill buffers and stall the sums.
static inline void prefetch(Ahead& ahead, int64_t lines) {
  for (; lines > 0 && ahead.run < ahead.last; --lines) {
    if (!ahead.line) ahead.line = ahead.run->begin;
    __builtin_prefetch(ahead.line, 0, 2);
    ahead.line += kCacheLine;
    if (ahead.line >= ahead.run->end) ++ahead.run, ahead.line = nullptr;
  }
}

template <typename T, int Vectors>
static inline void sum_block(const RowSums<T>& job, bool running, int64_t x, const int64_t* places, Ahead& ahead,
                             int64_t lines) {
  constexpr int64_t next = Vectors * kLanes<T>;
  vector_t<T> sums[kRowsAtOnce][Vectors] = {};
  const T* const* row = job.rows;
  T* output = job.output;
  for (int64_t s = 0; s < job.sums; ++s, output += job.pitch) {
    if (!running) {
#pragma GCC unroll 8
      for (int i = 0; i < kRowsAtOnce * Vectors; ++i) sums[i / Vectors][i % Vectors] = vector_t<T>{};
    }
    for (const T* const* end = job.rows + job.ends[s] * kRowsAtOnce; row < end; row += kRowsAtOnce) {
#pragma GCC unroll 4
      for (int t = 0; t < kRowsAtOnce; ++t) {
        const auto& part = row_part<Vectors>(row[t] + x);
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) sums[t][v] += part.vectors[v];
      }
      // Rows lie far apart, so the hardware does not prefetch their next vectors. Most rows between the first and the
      // last are the first row of another entry.
      __builtin_prefetch(row[0] + x + next);
      __builtin_prefetch(row[kRowsAtOnce - 1] + x + next);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kRowsAtOnce * Vectors; ++i)
      store(output + i / Vectors * job.row_pitch + places[i % Vectors], sums[i / Vectors][i % Vectors]);
    prefetch(ahead, lines);
  }
}

template <typename T>
static void sum_rows(const RowSums<T>& job, bool running, int64_t vectors, const int64_t* places, Ahead ahead) {
  const int64_t sums = (vectors + kRowVectors - 1) / kRowVectors * job.sums;
  if (sums == 0) return;
  const int64_t lines = ahead.lines / sums + 1;
  int64_t v = 0;
  for (; v + kRowVectors <= vectors; v += kRowVectors)
    sum_block<T, kRowVectors>(job, running, v * kLanes<T>, places + v, ahead, lines);
  for (; v < vectors; ++v) sum_block<T, 1>(job, running, v * kLanes<T>, places + v, ahead, lines);
}

template <typename T, int Vectors>
static inline void widen_block(const T* rows, int64_t pitch, int64_t radius, T* output) {
  constexpr int lanes = kLanes<T>;
  vector_t<T> sums[Vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) sums[v] = load(rows + v * lanes);
  for (int64_t d = 1; d <= radius; ++d) {
    const auto &left = row_part<Vectors>(rows + d * pitch - d), &right = row_part<Vectors>(rows + d * pitch + d);
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) sums[v] += left.vectors[v] + right.vectors[v];
  }
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) store(output + v * lanes, sums[v]);
}

template <typename T>
static void widen(const T* rows, int64_t pitch, int64_t radius, int64_t count, T* output) {
  constexpr int lanes = kLanes<T>;
  int64_t x = 0;
  for (; x + 4 * lanes <= count; x += 4 * lanes) widen_block<T, 4>(rows + x, pitch, radius, output + x);
  for (; x + lanes <= count; x += lanes) widen_block<T, 1>(rows + x, pitch, radius, output + x);
  if (x < count) {
    T buffer[lanes];
    widen_block<T, 1>(rows + x, pitch, radius, buffer);
    for (int64_t i = 0; x + i < count; ++i) output[x + i] = buffer[i];
  }
}

template <typename T>
static void runs(const T* row, int64_t radius, int64_t padded, T* const* outputs) {
  constexpr int lanes = kLanes<T>;
  for (int64_t x = 0; x < padded; x += lanes) {
    vector_t<T> sum = load(row + x);
    store(outputs[0] + x, sum);
    for (int64_t h = 1; h <= radius; ++h) {
      sum += load(row + x - h) + load(row + x + h);
      store(outputs[h] + x, sum);
    }
  }
}

template <typename E>
static double finish(const accumulate_t<E>* sums, const E* bins, int64_t stride, int64_t count, accumulate_t<E> factor,
                     bool noisy_or, bool weighs, E* grad, bool large) {
  using T = accumulate_t<E>;
  constexpr int lanes = kLanes<T>;
  const bool streams = large && reinterpret_cast<uintptr_t>(grad) % CNNFAST_VECTOR_BYTES == 0;
  vector_t<T> products = {};
  for (int64_t x = 0; x < count; x += lanes) {
    const vector_t<T> s = load_strided(sums + x, 1, count - x);
    vector_t<T> b = {};
    if (noisy_or || weighs) b = load_strided(bins + x * stride, stride, count - x);
    if (weighs) products += b * s;
    if (!grad) continue;
    vector_t<T> g = s * factor;
    if (noisy_or) g /= 1 - kept_below_one<T>(b, Uncertainty<E>::value);
    if constexpr (sizeof(E) == sizeof(T)) {
      if (streams && count - x >= lanes) {
        stream<T>(grad + x, g);
        continue;
      }
    }
    store_part(grad + x, g, count - x);
  }
  if (streams) stream_fence();
  double total = 0;
  for (int i = 0; i < lanes; ++i) total += double(products[i]);
  return total;
}

}  // namespace
}  // namespace cnnfast::discs
