// Inner loops of the union of discs on raw pointers: lanes of unsigned integers.
namespace cnnfast::discs {
namespace {

template <typename L>
struct Lanes {
  typedef L type __attribute__((vector_size(CNNFAST_VECTOR_BYTES)));
  static constexpr int count = CNNFAST_VECTOR_BYTES / int(sizeof(L));
};
template <typename L>
using lanes_t = typename Lanes<L>::type;

// With few kinds of labels comparisons of whole vectors beat a table.
template <typename L>
static void pack_labels(const uint8_t* labels, int64_t stride, int64_t count, const L* table, int64_t kinds, L* row) {
  int64_t x = 0;
  if constexpr (sizeof(L) == 1) {
    constexpr int lanes = Lanes<L>::count;
    for (; stride == 1 && kinds <= 16 && x + lanes <= count; x += lanes) {
      const lanes_t<L> l = load_lanes<lanes_t<L>>(labels + x);
      lanes_t<L> v = {};
      for (int64_t n = 1; n <= kinds; ++n) v |= lanes_t<L>(l == L(n)) & table[n];
      store_lanes(row + x, v);
    }
  }
  for (; x < count; ++x) row[x] = table[labels[x * stride]];
}

template <typename L>
static void reach(const L* const* rows, const L* drops, int64_t count, int64_t padded, L* output) {
  constexpr int lanes = Lanes<L>::count, vectors = 4;
  int64_t x = 0;
  for (; x + vectors * lanes <= padded; x += vectors * lanes) {
    lanes_t<L> best[vectors] = {};
    for (int64_t i = 0; i < count; ++i) {
      const lanes_t<L> drop = lanes_t<L>{} + drops[i];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v)
        best[v] = higher(best[v], higher(load_lanes<lanes_t<L>>(rows[i] + x + v * lanes), drop) - drop);
    }
    __builtin_memcpy(output + x, best, sizeof best);
  }
  for (; x < padded; x += lanes) {
    lanes_t<L> best = {};
    for (int64_t i = 0; i < count; ++i) {
      const lanes_t<L> drop = lanes_t<L>{} + drops[i];
      best = higher(best, higher(load_lanes<lanes_t<L>>(rows[i] + x), drop) - drop);
    }
    store_lanes(output + x, best);
  }
}

template <typename L>
static void paint(const L* reach, int64_t radius, int64_t count, uint8_t* output) {
  constexpr int lanes = Lanes<L>::count;
  for (int64_t x = 0; x < count; x += lanes) {
    auto painted = load_lanes<lanes_t<L>>(reach + x) > 0;
    for (int64_t d = 1; d <= radius; ++d) {
      const lanes_t<L> square = lanes_t<L>{} + L(d * d);
      painted |= higher(load_lanes<lanes_t<L>>(reach + x - d), load_lanes<lanes_t<L>>(reach + x + d)) > square;
    }
    typedef uint8_t bytes __attribute__((vector_size(lanes)));
    const bytes one = __builtin_convertvector(painted, bytes) & 1;
    __builtin_memcpy(output + x, &one, sizeof one);
  }
}

}  // namespace
}  // namespace cnnfast::discs
