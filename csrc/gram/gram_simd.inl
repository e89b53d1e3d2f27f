// Inner loops of the Gram family on raw pointers.
namespace cnnfast::gram {
namespace {

// Register blocking of the dot products of panel rows: 5 x 5 accumulators, 5 vectors of one operand and 1 of the other
// fill 32 registers, 3 x 3 accumulators 16. A square tile wastes least along the diagonal of a symmetric product.
constexpr int kTile = CNNFAST_REGISTERS == 32 ? 5 : 3;

template <typename T>
constexpr int kTileSlot = (kTile * kTile + kLanes<T> - 1) / kLanes<T> * kLanes<T>;

// Register blocking of the product: 8 x 3 (4 x 3 with 16 registers) accumulators, 3 vectors of the right operand and a
// broadcast of the left.
constexpr int kRows = CNNFAST_REGISTERS == 32 ? 8 : 4;
constexpr int kColumns = 3;

template <typename T>
static void zero_row(const Packing<T>& p, int64_t c) {
  for (int64_t k = 0; k < p.pixels; k += kLanes<T>) store(p.panel + c * p.stride + k, vector_t<T>{});
}

// Pixels are adjacent in memory. Rows lie pages apart, where the hardware prefetcher stops: row c prefetches row c + 1.
template <typename E>
static void pack_row(const Packing<accumulate_t<E>>& p, int64_t c) {
  constexpr int lanes = kLanes<accumulate_t<E>>;
  const E* row = static_cast<const E*>(p.source) + c * p.channel_stride;
  accumulate_t<E>* out = p.panel + c * p.stride;
  const E* next = c + 1 < p.channels && p.prefetches ? row + p.channel_stride : row;
  const int64_t whole = p.pixels / lanes * lanes;
  for (int64_t k = 0; k < whole; k += lanes) {
    __builtin_prefetch(next + k, 0, 2);
    store(out + k, load(row + k));
  }
  if (whole < p.pixels) store(out + whole, load_part(row + whole, p.pixels - whole));
}

// Any strides.
template <typename E>
static void pack_row_elementwise(const Packing<accumulate_t<E>>& p, int64_t c) {
  constexpr int lanes = kLanes<accumulate_t<E>>;
  const E* row = static_cast<const E*>(p.source) + c * p.channel_stride;
  for (int64_t k = 0; k < p.pixels; k += lanes) {
    const int64_t present = p.pixels - k < lanes ? p.pixels - k : lanes;
    E buffer[lanes] = {};
    for (int64_t i = 0; i < present; ++i) buffer[i] = row[(k + i) * p.pixel_stride];
    store(p.panel + c * p.stride + k, load(buffer));
  }
}

// Channels are adjacent in memory (channels_last): transposes squares of vectors, for one vector of pixels.
template <typename E>
static void pack_pixels(const Packing<accumulate_t<E>>& p, int64_t k) {
  using T = accumulate_t<E>;
  constexpr int lanes = kLanes<T>;
  const int64_t present = p.pixels - k < lanes ? p.pixels - k : lanes;
  vector_t<T> square[lanes];
  for (int64_t c = 0; c < p.channels; c += lanes) {
    const int64_t wanted = p.channels - c < lanes ? p.channels - c : lanes;
    const E* corner = static_cast<const E*>(p.source) + k * p.pixel_stride + c;
    if (present == lanes && wanted == lanes) {
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) {
        __builtin_prefetch(corner + (i + 2 * lanes) * p.pixel_stride, 0, 2);
        square[i] = load(corner + i * p.pixel_stride);
      }
    } else {
      for (int64_t i = 0; i < lanes; ++i)
        square[i] = i < present ? load_part(corner + i * p.pixel_stride, wanted) : vector_t<T>{};
    }
    transpose<T>(square);
    T* out = p.panel + c * p.stride + k;
    if (wanted == lanes) {
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) store(out + i * p.stride, square[i]);
    } else {
      for (int64_t i = 0; i < wanted; ++i) store(out + i * p.stride, square[i]);
    }
  }
}

// One step is one row, or with channels_last features one vector of pixels and, last, the zero rows.
template <typename E>
static void advance(Packing<accumulate_t<E>>& p, int64_t until) {
  using T = accumulate_t<E>;
  const bool by_rows = p.pixel_stride == 1 || p.channel_stride != 1;
  for (; p.done < until; ++p.done) {
    if (!by_rows) {
      if (p.done + 1 < p.steps) {
        pack_pixels<E>(p, p.done * kLanes<T>);
      } else {
        for (int64_t c = p.channels; c < p.padded_channels; ++c) zero_row(p, c);
      }
    } else if (p.done >= p.channels) {
      zero_row(p, p.done);
    } else if (p.pixel_stride == 1) {
      pack_row<E>(p, p.done);
    } else {
      pack_row_elementwise<E>(p, p.done);
    }
  }
}

template <typename E>
static Packing<accumulate_t<E>> pack(const E* source, int64_t channel_stride, int64_t pixel_stride, int64_t channels,
                                     int64_t padded_channels, int64_t pixels, accumulate_t<E>* panel, int64_t stride) {
  constexpr int64_t lanes = kLanes<accumulate_t<E>>;
  const bool by_rows = pixel_stride == 1 || channel_stride != 1;
  const int64_t steps = by_rows ? padded_channels : (pixels + lanes - 1) / lanes + 1;
  const int64_t step = pixel_stride == 1 ? channel_stride : pixel_stride == channels ? lanes * pixel_stride : 0;
  return {advance<E>,
          source,
          channel_stride,
          pixel_stride,
          channels,
          padded_channels,
          pixels,
          panel,
          stride,
          steps,
          0,
          reinterpret_cast<const char*>(source),
          step * int64_t(sizeof(E)),
          true};
}

// Interleaves the packing of a panel with other work. While one part of the work runs, it prefetches the memory of the
// next step, one cache line at a time: a burst would fill the processor's few line fill buffers and stall the work.
// Where there is nothing to prefetch, `line` stays at `readable`.
template <typename T>
struct Background {
  Packing<T>* packing;
  int64_t parts, finished;
  const char* line;
  int64_t line_bytes;

  Background(Packing<T>* packing, int64_t parts, const T* readable)
      : packing(packing), parts(parts), finished(0), line(reinterpret_cast<const char*>(readable)), line_bytes(0) {
    if (!packing) return;
    packing->prefetches = false;
    look_ahead();
  }
  void finish(int64_t count) {
    finished += count;
    if (!packing) return;
    packing->advance(*packing, packing->steps * finished / parts);
    look_ahead();
  }
  void look_ahead() {
    // The step after the next: the last lines that are prefetched arrive only when this part of the work is over.
    const int64_t step = packing->done + 1;
    const bool fetchable = packing->step_bytes != 0 && step < packing->channels;
    line = packing->memory + (fetchable ? step * packing->step_bytes : 0);
    line_bytes = fetchable ? CNNFAST_VECTOR_BYTES : 0;
  }
};

template <typename T>
static void shift_and_scale(const T* panel, const T* shift, const T* weight, int64_t channels, int64_t padded_pixels,
                            T* output, int64_t stride) {
  for (int64_t c = 0; c < channels; ++c) {
    const T mean = shift ? shift[c] : T(0);
    for (int64_t k = 0; k < padded_pixels; k += kLanes<T>) {
      const int64_t at = c * stride + k;
      store(output + at, (load(panel + at) - mean) * load(weight + k));
    }
  }
}

template <typename T, bool Diagonal>
static void tile_products(const T* left, const T* right, int64_t stride, int64_t padded_pixels, T* tile,
                          const char* line, int64_t line_bytes) {
  using V = vector_t<T>;
  constexpr int lanes = kLanes<T>;
  V sums[kTileSlot<T>] = {};
  for (int64_t k = 0; k < padded_pixels; k += lanes) {
    __builtin_prefetch(line, 0, 2);
    line += line_bytes;
    V r[kTile];
#pragma GCC unroll 8
    for (int j = 0; j < kTile; ++j) r[j] = load(right + j * stride + k);
#pragma GCC unroll 8
    for (int i = 0; i < kTile; ++i) {
      const V l = load(left + i * stride + k);
#pragma GCC unroll 8
      for (int j = Diagonal ? i : 0; j < kTile; ++j) sums[i * kTile + j] += l * r[j];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kTileSlot<T>; i += lanes) store(tile + i, lane_sums<T>(sums + i));
}

template <typename T>
static void row_products(const T* left, const T* right, int64_t stride, int64_t left_rows, int64_t right_rows,
                         int64_t padded_pixels, bool upper, T* tiles, Packing<T>* ahead) {
  const int64_t down = left_rows / kTile, across = right_rows / kTile;
  const int64_t all = upper ? down * (down + 1) / 2 : down * across;
  Background<T> background(ahead, all, left);
  for (int64_t i = 0; i < left_rows; i += kTile) {
    for (int64_t j = upper ? i : 0; j < right_rows; j += kTile) {
      if (upper && i == j) {
        tile_products<T, true>(left + i * stride, right + j * stride, stride, padded_pixels, tiles, background.line,
                               background.line_bytes);
      } else {
        tile_products<T, false>(left + i * stride, right + j * stride, stride, padded_pixels, tiles, background.line,
                                background.line_bytes);
      }
      tiles += kTileSlot<T>;
      background.finish(1);
    }
  }
}

template <typename T>
static void accumulate(const T* tiles, int64_t slots, bool first, double* total) {
  if (first) {
    for (int64_t s = 0; s < slots; ++s) total[s] = double(tiles[s]);
  } else {
    for (int64_t s = 0; s < slots; ++s) total[s] += double(tiles[s]);
  }
}

template <typename T, int Rows, int Columns>
static void multiply_tile(const T* left, int64_t left_stride, const T* right, int64_t right_stride, int64_t depth,
                          T* output, int64_t output_stride, bool streams, const char* line, int64_t line_bytes) {
  using V = vector_t<T>;
  constexpr int lanes = kLanes<T>;
  V sums[Rows][Columns] = {};
  if (!streams) {
    // The output is not in the caches: prefetch its lines now, they are written at the end.
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < Columns; ++v) __builtin_prefetch(output + i * output_stride + v * lanes, 1);
    }
  }
  for (int64_t c = 0; c < depth; ++c) {
    __builtin_prefetch(line, 0, 2);
    line += line_bytes;
    V r[Columns];
#pragma GCC unroll 4
    for (int v = 0; v < Columns; ++v) r[v] = load(right + v * lanes);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < Columns; ++v) sums[i][v] += left[i] * r[v];
    }
    left += left_stride;
    right += right_stride;
  }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < Columns; ++v) {
      T* out = output + i * output_stride + v * lanes;
      if (streams) {
        stream(out, sums[i][v]);
      } else {
        store(out, sums[i][v]);
      }
    }
  }
}

// What all strips of one product share: the left operand, the output, and the panel that is packed meanwhile.
template <typename E>
struct Multiplication {
  using T = accumulate_t<E>;

  const T* left;
  int64_t left_stride, right_stride, depth, rows;
  int64_t output_stride;
  bool streams;
  Background<T> background;

  // Rows i, ..., i + Rows - 1 of a strip of Columns vectors, of which `columns` elements exist in the output.
  template <int Rows, int Columns>
  void tile(const T* right, int64_t i, int64_t columns, E* output) {
    constexpr int width = Columns * kLanes<T>;
    E* out = output + i * output_stride;
    bool stored = false;
    if constexpr (sizeof(E) == sizeof(T)) {
      if (columns >= width) {
        multiply_tile<T, Rows, Columns>(left + i, left_stride, right, right_stride, depth, out, output_stride, streams,
                                        background.line, background.line_bytes);
        stored = true;
      }
    }
    if (!stored) {
      T buffer[Rows * width];
      multiply_tile<T, Rows, Columns>(left + i, left_stride, right, right_stride, depth, buffer, width, false,
                                      background.line, background.line_bytes);
      const int64_t present = columns < width ? columns : width;
      for (int r = 0; r < Rows; ++r)
        for (int64_t k = 0; k < present; k += kLanes<T>)
          store_part(out + r * output_stride + k, load(buffer + r * width + k), present - k);
    }
    background.finish(Rows);
  }

  template <int Columns>
  void strip(const T* right, int64_t columns, E* output) {
    int64_t i = 0;
    for (; i + kRows <= rows; i += kRows) tile<kRows, Columns>(right, i, columns, output);
    if (kRows == 8 && rows - i >= 4) tile<4, Columns>(right, i, columns, output), i += 4;
    if (rows - i >= 2) tile<2, Columns>(right, i, columns, output), i += 2;
    if (rows - i >= 1) tile<1, Columns>(right, i, columns, output);
  }
};

// Vectors in the next strip when `left` remain: 4 go as 2 + 2, not 3 + 1.
static inline int64_t strip_vectors(int64_t left) { return left == 4 ? 2 : left > kColumns ? kColumns : left; }

template <typename E>
static void multiply(const accumulate_t<E>* left, int64_t left_stride, const accumulate_t<E>* right,
                     int64_t right_stride, int64_t depth, int64_t rows, int64_t columns, E* output,
                     int64_t output_stride, bool large, Packing<accumulate_t<E>>* ahead) {
  constexpr int lanes = kLanes<accumulate_t<E>>;
  const int64_t vectors = (columns + lanes - 1) / lanes;
  int64_t strips = 0;
  for (int64_t v = 0; v < vectors; v += strip_vectors(vectors - v)) ++strips;
  const bool aligned = reinterpret_cast<uintptr_t>(output) % CNNFAST_VECTOR_BYTES == 0 && output_stride % lanes == 0;
  Multiplication<E> m{left, left_stride,   right_stride,     depth,
                      rows, output_stride, large && aligned, {ahead, strips * rows, left}};
  for (int64_t v = 0; v < vectors;) {
    const int64_t taken = strip_vectors(vectors - v), k = v * lanes;
    if (taken == 3) m.template strip<3>(right + k, columns - k, output + k);
    if (taken == 2) m.template strip<2>(right + k, columns - k, output + k);
    if (taken == 1) m.template strip<1>(right + k, columns - k, output + k);
    v += taken;
  }
  if (large) stream_fence();
}

template <typename E, typename T = accumulate_t<E>>
constexpr ElementKernels<E> element_kernels = {kLanes<T>,          kTile,           kTileSlot<T>,  pack<E>,
                                               shift_and_scale<T>, row_products<T>, accumulate<T>, multiply<E>};

}  // namespace

const Kernels CNNFAST_TABLE = {element_kernels<float>, element_kernels<double>, element_kernels<half_bits>,
                               element_kernels<bfloat16_bits>};

}  // namespace cnnfast::gram
