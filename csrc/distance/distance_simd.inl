// Inner loops of the distance transforms on lane rows.
namespace cnnfast::distance {
namespace {

typedef uint8_t vector_u8 __attribute__((vector_size(CNNFAST_VECTOR_BYTES)));
typedef uint16_t vector_u16 __attribute__((vector_size(CNNFAST_VECTOR_BYTES)));

template <typename T>
struct SquareVector;
template <>
struct SquareVector<uint8_t> {
  using type = vector_u8;
};
template <>
struct SquareVector<uint16_t> {
  using type = vector_u16;
};

template <typename E>
static void foreground(const void* raw, bool inverted, uint8_t value, int64_t n, uint8_t* out) {
  const E* row = static_cast<const E*>(raw);
  const uint8_t set = inverted ? 0 : value, clear = inverted ? value : 0;
  for (int64_t x = 0; x < n; ++x) out[x] = row[x] != 0 ? set : clear;
}

template <typename E>
static void differences(const void* a, const void* b, int64_t n, uint8_t* out) {
  const E *first = static_cast<const E*>(a), *second = static_cast<const E*>(b);
  for (int64_t x = 0; x < n; ++x) out[x] = first[x] != second[x] ? 255 : 0;
}

static void beside_edges(const uint8_t* edges, uint8_t farthest, int64_t n, uint8_t* out) {
  for (int64_t x = 0; x < n; ++x) out[x] = (edges[x - 1] | edges[x]) != 0 ? 1 : farthest;
}

// Every |dx| is a sum of steps: each stage adds one step to the left, to the right or none, twice as long as the step
// of the stage before.
static const uint8_t* spread(const uint8_t* row, int64_t n, int64_t reach, uint8_t* spare, uint8_t* other) {
  for (uint8_t* margin : {spare, other}) {
    __builtin_memcpy(margin - kLaneBlock, row - kLaneBlock, kLaneBlock);
    __builtin_memcpy(margin + n, row + n, kLaneBlock);
  }
  int64_t reached = 0;
  do {
    const int64_t step = reach - reached < reached + 1 ? reach - reached : reached + 1;
    const vector_u8 cost = vector_u8{} + uint8_t(step);
    for (int64_t x = 0; x < n; x += CNNFAST_VECTOR_BYTES) {
      const vector_u8 beside = lower(load_lanes<vector_u8>(row + x - step), load_lanes<vector_u8>(row + x + step));
      store_lanes(spare + x, lower(load_lanes<vector_u8>(row + x), beside + cost));
    }
    reached += step;
    row = spare;
    spare = other;
    other = const_cast<uint8_t*>(row);
  } while (reached < reach);
  return row;
}

template <typename T>
static void square(const uint8_t* row, int64_t n, T* out) {
  for (int64_t x = 0; x < n; ++x) out[x] = T(row[x] * row[x]);
}

// Takes the offsets done + 1, ..., done + Offsets into account; returns whether larger ones may still lower a square.
template <typename T, int Offsets>
static bool nearest_of(const T* centre, int64_t pitch, const T* start, int64_t n, int64_t done, T* best) {
  using V = typename SquareVector<T>::type;
  constexpr int lanes = CNNFAST_VECTOR_BYTES / int(sizeof(T));
  V costs[Offsets], ceilings[Offsets];
  const T* above[Offsets];
  const T* below[Offsets];
#pragma GCC unroll 8
  for (int i = 0; i < Offsets; ++i) {
    const int64_t dy = done + 1 + i;
    costs[i] = V{} + T(dy * dy);
    ceilings[i] = V{} + T(T(-1) - T(dy * dy));
    above[i] = centre - dy * pitch;
    below[i] = centre + dy * pitch;
  }
  V highest{};
  for (int64_t x = 0; x < n; x += lanes) {
    V least = load_lanes<V>(start + x);
#pragma GCC unroll 8
    for (int i = 0; i < Offsets; ++i) {
      V candidate = lower(load_lanes<V>(above[i] + x), load_lanes<V>(below[i] + x));
      if constexpr (sizeof(T) == 1) candidate = lower(candidate, ceilings[i]);  // the sum must not wrap around
      least = lower(least, candidate + costs[i]);
    }
    store_lanes(best + x, least);
    highest = higher(highest, least);
  }
  const int64_t next = done + Offsets + 1;
  for (int i = 0; i < lanes; ++i)
    if (highest[i] > next * next) return true;
  return false;
}

template <typename T>
static void nearest(const T* centre, int64_t pitch, const T* start, int64_t n, int64_t reach, T* best) {
  if (reach == 0) __builtin_memcpy(best, start, size_t(n) * sizeof(T));
  int64_t done = 0;
  bool goes_on = true;
  while (goes_on && done < reach) {
    const int64_t left = reach - done;
    // Two runs of nearly equal length where one would be too long.
    const int64_t offsets = left <= 6 ? left : left < 12 ? (left + 1) / 2 : 6;
    if (offsets == 1) goes_on = nearest_of<T, 1>(centre, pitch, start, n, done, best);
    if (offsets == 2) goes_on = nearest_of<T, 2>(centre, pitch, start, n, done, best);
    if (offsets == 3) goes_on = nearest_of<T, 3>(centre, pitch, start, n, done, best);
    if (offsets == 4) goes_on = nearest_of<T, 4>(centre, pitch, start, n, done, best);
    if (offsets == 5) goes_on = nearest_of<T, 5>(centre, pitch, start, n, done, best);
    if (offsets == 6) goes_on = nearest_of<T, 6>(centre, pitch, start, n, done, best);
    done += offsets;
    start = best;
  }
}

static inline void store_counts(uint8_t* p, vector_u8 counts) { store_lanes(p, counts); }
static inline void store_counts(uint8_t* p, vector_u16 counts) {
  typedef uint8_t narrow __attribute__((vector_size(CNNFAST_VECTOR_BYTES / 2)));
  store_lanes(p, __builtin_convertvector(counts, narrow));
}

template <typename T>
static void count(const T* row, const T* thresholds, int64_t threshold_count, int64_t n, uint8_t* out) {
  using V = typename SquareVector<T>::type;
  constexpr int lanes = CNNFAST_VECTOR_BYTES / int(sizeof(T));
  for (int64_t x = 0; x < n; x += lanes) {
    const V values = load_lanes<V>(row + x);
    V below{};
    for (int64_t k = 0; k < threshold_count; ++k) below -= V(values > V{} + thresholds[k]);
    store_counts(out + x, below);
  }
}

static void follow(const uint8_t* foreground, const uint8_t* edges, const uint8_t* previous, uint8_t farthest,
                   int64_t n, uint8_t* out) {
  for (int64_t x = 0; x < n; ++x) {
    const uint8_t next = previous[x] < farthest ? previous[x] + 1 : farthest;
    out[x] = foreground[x] == 0 ? 0 : edges[x] != 0 ? 1 : next;
  }
}

static void follow_back(const uint8_t* edges, const uint8_t* previous, int64_t n, uint8_t* out) {
  for (int64_t x = 0; x < n; ++x) {
    const uint8_t next = previous[x] < 255 ? previous[x] + 1 : 255, found = edges[x] != 0 ? 1 : next;
    out[x] = found < out[x] ? found : out[x];
  }
}

static void follow_signed(const uint8_t* foreground, const uint8_t* edges, const int32_t* previous, int32_t farthest,
                          int64_t n, int32_t* out) {
  for (int64_t x = 0; x < n; ++x) {
    const int32_t before = previous[x] < 0 ? -previous[x] : previous[x];
    const int32_t next = before < farthest ? before + 1 : farthest, distance = edges[x] != 0 ? 1 : next;
    out[x] = foreground[x] != 0 ? distance : -distance;
  }
}

static void follow_signed_back(const uint8_t* edges, const int32_t* previous, int64_t n, int32_t* out) {
  for (int64_t x = 0; x < n; ++x) {
    const int32_t before = previous[x] < 0 ? -previous[x] : previous[x], now = out[x] < 0 ? -out[x] : out[x];
    const int32_t found = edges[x] != 0 ? 1 : before + 1, distance = found < now ? found : now;
    out[x] = out[x] < 0 ? -distance : distance;
  }
}

template <typename T>
constexpr SquareKernels<T> square_kernels = {square<T>, nearest<T>, count<T>};

}  // namespace

const Kernels CNNFAST_TABLE = {
    {foreground<uint8_t>, foreground<uint16_t>, foreground<uint32_t>, foreground<uint64_t>},
    {differences<uint8_t>, differences<uint16_t>, differences<uint32_t>, differences<uint64_t>},
    beside_edges,
    spread,
    follow,
    follow_back,
    follow_signed,
    follow_signed_back,
    square_kernels<uint8_t>,
    square_kernels<uint16_t>};

}  // namespace cnnfast::distance
