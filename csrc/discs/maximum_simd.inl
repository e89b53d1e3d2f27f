// Inner loops of maxima over discs on raw pointers. NaN counts as larger than every number.
namespace cnnfast::discs {
namespace {

template <typename T>
using code_t = typename Vector<T>::index;

template <typename T>
struct Largest {
  vector_t<T> value;
  code_t<T> found;

  // Takes v in the lanes in which it is larger. Returns the mask of these lanes.
  code_t<T> take(vector_t<T> v, code_t<T> code) {
    const code_t<T> larger = (v > value) | (v != v);
    value = larger ? v : value;
    found = larger ? code : found;
    return larger;
  }
};

template <typename T>
static void max_rows(const RowMaxima<T>& job, int64_t vectors, const int64_t* places) {
  constexpr int lanes = kLanes<T>;
  for (int64_t v = 0; v < vectors; ++v) {
    Largest<T> largest = {vector_t<T>{} - T(__builtin_inf()), code_t<T>{} - 1};
    int64_t i = 0;
    for (int64_t s = 0; s < job.sums; ++s) {
      for (; i < job.ends[s]; ++i) largest.take(load(job.rows[i] + v * lanes), code_t<T>{} + job.codes[i]);
      store(job.output + s * job.pitch + places[v], largest.value);
      store_lanes(job.found + s * job.pitch + places[v], largest.found);
    }
  }
}

template <typename T>
static void widen_max(const T* rows, const typename Lane<T>::code* codes, int64_t pitch, int64_t radius, int64_t count,
                      T* output, typename Lane<T>::code* found, typename Lane<T>::code* steps) {
  using Code = typename Lane<T>::code;
  constexpr int lanes = kLanes<T>;
  for (int64_t x = 0; x < count; x += lanes) {
    Largest<T> largest = {load(rows + x), load_lanes<code_t<T>>(codes + x)};
    code_t<T> step = {};
    for (int64_t d = 1; d <= radius; ++d) {
      const int64_t at = x + d * pitch;
      step = largest.take(load(rows + at - d), load_lanes<code_t<T>>(codes + at - d)) ? code_t<T>{} - Code(d) : step;
      step = largest.take(load(rows + at + d), load_lanes<code_t<T>>(codes + at + d)) ? code_t<T>{} + Code(d) : step;
    }
    store(output + x, largest.value);
    store_lanes(found + x, largest.found);
    store_lanes(steps + x, step);
  }
}

}  // namespace
}  // namespace cnnfast::discs
