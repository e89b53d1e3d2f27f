// Vectors of CNNFAST_VECTOR_BYTES through the compiler's vector extension: one source for SSE, AVX2, AVX-512 and NEON.
namespace cnnfast {
namespace {

typedef float vector_float __attribute__((vector_size(CNNFAST_VECTOR_BYTES)));
typedef double vector_double __attribute__((vector_size(CNNFAST_VECTOR_BYTES)));

template <typename T>
struct Vector;
template <>
struct Vector<float> {
  using type = vector_float;
  typedef int32_t index __attribute__((vector_size(CNNFAST_VECTOR_BYTES)));
  typedef uint32_t bits __attribute__((vector_size(CNNFAST_VECTOR_BYTES)));
  typedef uint16_t half __attribute__((vector_size(CNNFAST_VECTOR_BYTES / 2)));
};
template <>
struct Vector<double> {
  using type = vector_double;
  typedef int64_t index __attribute__((vector_size(CNNFAST_VECTOR_BYTES)));
};

template <typename T>
using vector_t = typename Vector<T>::type;

template <typename T>
constexpr int kLanes = CNNFAST_VECTOR_BYTES / int(sizeof(T));

static inline float half_to_float(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7fffu;
  uint32_t bits;
  if (magnitude >= 0x7c00u) {
    bits = sign | 0x7f800000u | (magnitude & 0x3ffu) << 13;  // infinity or NaN
  } else if (magnitude >= 0x0400u) {
    bits = sign | ((magnitude << 13) + 0x38000000u);
  } else {
    const float small = float(magnitude) * 0x1p-24f;  // subnormal: exact in float
    __builtin_memcpy(&bits, &small, 4);
    bits |= sign;
  }
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

// Rounds to nearest, ties to even.
static inline uint16_t float_to_half(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  const uint32_t sign = bits >> 16 & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return uint16_t(sign | 0x7e00u);
  if (magnitude >= 0x47800000u) return uint16_t(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {  // below the smallest normal half: the addition does the rounding
    float shifted;
    __builtin_memcpy(&shifted, &magnitude, 4);
    shifted += 0.5f;
    uint32_t rounded;
    __builtin_memcpy(&rounded, &shifted, 4);
    return uint16_t(sign | (rounded - 0x3f000000u));
  }
  return uint16_t(sign | (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13);
}

static inline vector_float load(const float* p) {
  vector_float v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
static inline vector_double load(const double* p) {
  vector_double v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
static inline vector_float load(const bfloat16_bits* p) {
  Vector<float>::half halves;
  __builtin_memcpy(&halves, p, sizeof halves);
  return vector_float(__builtin_convertvector(halves, Vector<float>::bits) << 16);
}
static inline vector_float load(const half_bits* p) {
#if defined(CNNFAST_F16C) && CNNFAST_VECTOR_BYTES == 64
  return _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));  // plain form warns
#elif defined(CNNFAST_F16C)
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  vector_float v;
  for (int i = 0; i < kLanes<float>; ++i) v[i] = half_to_float(p[i].bits);
  return v;
#endif
}

// Loads the first `count` elements, zero in the other lanes.
template <typename E>
static inline vector_t<accumulate_t<E>> load_part(const E* p, int64_t count) {
  E buffer[kLanes<accumulate_t<E>>] = {};
  for (int64_t i = 0; i < count; ++i) buffer[i] = p[i];
  return load(buffer);
}

template <typename T>
static inline void store(T* p, vector_t<T> v) {
  __builtin_memcpy(p, &v, sizeof v);
}
// Rounds to nearest, ties to even.
static inline void store(bfloat16_bits* p, vector_float v) {
  const auto bits = Vector<float>::bits(v);
  const auto nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const auto rounded = nan ? bits | 0x400000u : bits + 0x7fffu + (bits >> 16 & 1u);
  const auto halves = __builtin_convertvector(rounded >> 16, Vector<float>::half);
  __builtin_memcpy(p, &halves, sizeof halves);
}
static inline void store(half_bits* p, vector_float v) {
#if defined(CNNFAST_F16C) && CNNFAST_VECTOR_BYTES == 64
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_maskz_cvtps_ph(0xffff, __m512(v), _MM_FROUND_TO_NEAREST_INT));
#elif defined(CNNFAST_F16C)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(__m256(v), _MM_FROUND_TO_NEAREST_INT));
#else
  for (int i = 0; i < kLanes<float>; ++i) p[i].bits = float_to_half(v[i]);
#endif
}

// Stores the first `count` lanes, or all of them where there are fewer.
template <typename E>
static inline void store_part(E* p, vector_t<accumulate_t<E>> v, int64_t count) {
  constexpr int lanes = kLanes<accumulate_t<E>>;
  if (count >= lanes) return store(p, v);
  E buffer[lanes];
  store(buffer, v);
  for (int64_t i = 0; i < count; ++i) p[i] = buffer[i];
}

// Vectors whose type V is given, where the type of the elements does not determine it, as for integers.
template <typename V, typename T>
static inline V load_lanes(const T* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <typename V, typename T>
static inline void store_lanes(T* p, V v) {
  __builtin_memcpy(p, &v, sizeof v);
}
template <typename V>
static inline V lower(V a, V b) {
  return a < b ? a : b;
}
template <typename V>
static inline V higher(V a, V b) {
  return a > b ? a : b;
}

// Stores past the caches, p aligned to the vector. Other threads may read it only after stream_fence.
template <typename T>
static inline void stream(T* p, vector_t<T> v) {
#if defined(__clang__)
  __builtin_nontemporal_store(v, reinterpret_cast<vector_t<T>*>(p));
#elif CNNFAST_VECTOR_BYTES == 64
  _mm512_stream_ps(reinterpret_cast<float*>(p), reinterpret_cast<__m512&>(v));
#elif CNNFAST_VECTOR_BYTES == 32
  _mm256_stream_ps(reinterpret_cast<float*>(p), reinterpret_cast<__m256&>(v));
#elif defined(__x86_64__)
  _mm_stream_ps(reinterpret_cast<float*>(p), reinterpret_cast<__m128&>(v));
#else
  store(p, v);
#endif
}
static inline void stream_fence() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

// Lane l of the result is lane Choose::lane(l) of `a` followed by `b`.
template <typename T, typename Choose, int... L>
static inline vector_t<T> select(vector_t<T> a, vector_t<T> b, std::integer_sequence<int, L...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, Choose::lane(L)...);
#else
  return __builtin_shuffle(a, b, typename Vector<T>::index{Choose::lane(L)...});
#endif
}
template <typename T, typename Choose>
static inline vector_t<T> select(vector_t<T> a, vector_t<T> b) {
  return select<T, Choose>(a, b, std::make_integer_sequence<int, kLanes<T>>{});
}

// Both vectors hold groups of `Group` lanes. The chosen lanes are the first (Half = 0) or second (Half = 1) halves of
// all groups, those of `a` before those of `b`.
template <int Lanes, int Group, int Half>
struct GroupHalves {
  static constexpr int lane(int l) {
    const int h = Group / 2, within = l % (Lanes / 2);
    return (l < Lanes / 2 ? 0 : Lanes) + within / h * Group + within % h + Half * h;
  }
};

// Lane i of the result is the sum of the lanes of v[i], added as a balanced tree. Destroys v.
template <typename T, int Group = kLanes<T>>
static inline vector_t<T> lane_sums(vector_t<T>* v) {
  if constexpr (Group == 1) {
    return v[0];
  } else {
    constexpr int lanes = kLanes<T>;
#pragma GCC unroll 16
    for (int i = 0; i < Group / 2; ++i)
      v[i] = select<T, GroupHalves<lanes, Group, 0>>(v[2 * i], v[2 * i + 1]) +
             select<T, GroupHalves<lanes, Group, 1>>(v[2 * i], v[2 * i + 1]);
    return lane_sums<T, Group / 2>(v);
  }
}

// Exchanges the off-diagonal blocks of size Block of a square of vectors: one of the log2(lanes) steps of a
// transposition.
template <int Lanes, int Block, bool Second>
struct BlockExchange {
  static constexpr int lane(int l) {
    if (Second) return l & Block ? Lanes + l : l + Block;
    return l & Block ? Lanes + l - Block : l;
  }
};

// Transposes the square of kLanes<T> vectors in place.
template <typename T, int Block = kLanes<T> / 2>
static inline void transpose(vector_t<T>* v) {
  if constexpr (Block > 0) {
    constexpr int lanes = kLanes<T>;
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) {
      if (i & Block) continue;
      const vector_t<T> a = v[i], b = v[i + Block];
      v[i] = select<T, BlockExchange<lanes, Block, false>>(a, b);
      v[i + Block] = select<T, BlockExchange<lanes, Block, true>>(a, b);
    }
    transpose<T, Block / 2>(v);
  }
}

}  // namespace
}  // namespace cnnfast
