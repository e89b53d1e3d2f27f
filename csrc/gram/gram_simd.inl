// Inner loops of the Gram family on raw pointers.

// Dot products of panel rows, tile by tile: with 32 registers 5 x 5 accumulators, 5 vectors of one side and 1 of the other
// fill them; with 16 registers 3 x 3 do. A square tile wastes least along the diagonal of a symmetric product.
constexpr int kTile = CNNFAST_REGISTERS == 32 ? 5 : 3;

template <typename T>
constexpr int kTileSlot = (kTile * kTile + kLanes<T> - 1) / kLanes<T> * kLanes<T>;

// Product: 8 x 3 (4 x 3 with 16 registers) accumulators, 3 vectors of the right side, and a broadcast of the left.
constexpr int kRows = CNNFAST_REGISTERS == 32 ? 8 : 4;
constexpr int kColumns = 3;

template <typename E>
static void pack_rows(const E* source, int64_t channel_stride, int64_t channels, int64_t pixels,
                      accumulate_t<E>* panel, int64_t stride) {
  using T = accumulate_t<E>;
  constexpr int lanes = kLanes<T>;
  const int64_t whole = pixels / lanes * lanes;
  for (int64_t c = 0; c < channels; ++c) {
    const E* row = source + c * channel_stride;
    T* out = panel + c * stride;
    // Rows lie pages apart, which stops the hardware's prefetcher: ask for the next row while this one is copied.
    const char* next = reinterpret_cast<const char*>(c + 1 < channels ? row + channel_stride : row);
    for (int64_t k = 0; k < whole; k += lanes) {
      __builtin_prefetch(next + k * int64_t(sizeof(E)));
      store(out + k, load(row + k));
    }
    if (whole < pixels) store(out + whole, load_part(row + whole, pixels - whole));
  }
}

// Channels are adjacent in memory (channels_last): transposes squares of vectors.
template <typename E>
static void pack_columns(const E* source, int64_t pixel_stride, int64_t channels, int64_t pixels,
                         accumulate_t<E>* panel, int64_t stride) {
  using T = accumulate_t<E>;
  constexpr int lanes = kLanes<T>;
  vector_t<T> square[lanes];
  for (int64_t k = 0; k < pixels; k += lanes) {
    const int64_t present = pixels - k < lanes ? pixels - k : lanes;
    for (int64_t c = 0; c < channels; c += lanes) {
      const int64_t wanted = channels - c < lanes ? channels - c : lanes;
      const E* corner = source + k * pixel_stride + c;
      if (present == lanes && wanted == lanes) {
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) square[i] = load(corner + i * pixel_stride);
      } else {
        for (int64_t i = 0; i < lanes; ++i)
          square[i] = i < present ? load_part(corner + i * pixel_stride, wanted) : vector_t<T>{};
      }
      transpose<T>(square);
      T* out = panel + c * stride + k;
      if (wanted == lanes) {
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) store(out + i * stride, square[i]);
      } else {
        for (int64_t i = 0; i < wanted; ++i) store(out + i * stride, square[i]);
      }
    }
  }
}

template <typename E>
static void pack_any(const E* source, int64_t channel_stride, int64_t pixel_stride, int64_t channels, int64_t pixels,
                     accumulate_t<E>* panel, int64_t stride) {
  using T = accumulate_t<E>;
  constexpr int lanes = kLanes<T>;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t k = 0; k < pixels; k += lanes) {
      const int64_t present = pixels - k < lanes ? pixels - k : lanes;
      E buffer[lanes] = {};
      for (int64_t i = 0; i < present; ++i) buffer[i] = source[c * channel_stride + (k + i) * pixel_stride];
      store(panel + c * stride + k, load(buffer));
    }
  }
}

template <typename E>
static void pack(const E* source, int64_t channel_stride, int64_t pixel_stride, int64_t channels,
                 int64_t padded_channels, int64_t pixels, accumulate_t<E>* panel, int64_t stride) {
  using T = accumulate_t<E>;
  if (pixel_stride == 1) {
    pack_rows(source, channel_stride, channels, pixels, panel, stride);
  } else if (channel_stride == 1) {
    pack_columns(source, pixel_stride, channels, pixels, panel, stride);
  } else {
    pack_any(source, channel_stride, pixel_stride, channels, pixels, panel, stride);
  }
  const int64_t padded_pixels = (pixels + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
  for (int64_t c = channels; c < padded_channels; ++c)
    for (int64_t k = 0; k < padded_pixels; k += kLanes<T>) store(panel + c * stride + k, vector_t<T>{});
}

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
static void tile_products(const T* left, const T* right, int64_t stride, int64_t padded_pixels, T* tile) {
  using V = vector_t<T>;
  constexpr int lanes = kLanes<T>;
  V sums[kTileSlot<T>] = {};
  for (int64_t k = 0; k < padded_pixels; k += lanes) {
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
                         int64_t padded_pixels, bool upper, T* tiles) {
  for (int64_t i = 0; i < left_rows; i += kTile) {
    for (int64_t j = upper ? i : 0; j < right_rows; j += kTile) {
      if (upper && i == j) {
        tile_products<T, true>(left + i * stride, right + j * stride, stride, padded_pixels, tiles);
      } else {
        tile_products<T, false>(left + i * stride, right + j * stride, stride, padded_pixels, tiles);
      }
      tiles += kTileSlot<T>;
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
                          T* output, int64_t output_stride) {
  using V = vector_t<T>;
  constexpr int lanes = kLanes<T>;
  V sums[Rows][Columns] = {};
  for (int64_t c = 0; c < depth; ++c) {
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
    for (int v = 0; v < Columns; ++v) store(output + i * output_stride + v * lanes, sums[i][v]);
  }
}

// A strip is Columns vectors wide; `columns` of its elements exist in the output.
template <typename E, int Columns>
struct Strip {
  using T = accumulate_t<E>;
  static constexpr int width = Columns * kLanes<T>;

  const T* left;
  int64_t left_stride;
  const T* right;
  int64_t right_stride;
  int64_t depth;
  int64_t columns;
  E* output;
  int64_t output_stride;

  template <int Rows>
  void tile(int64_t i) const {
    E* out = output + i * output_stride;
    if constexpr (sizeof(E) == sizeof(T)) {
      if (columns >= width) {
        multiply_tile<T, Rows, Columns>(left + i, left_stride, right, right_stride, depth, out, output_stride);
        return;
      }
    }
    T buffer[Rows * width];
    multiply_tile<T, Rows, Columns>(left + i, left_stride, right, right_stride, depth, buffer, width);
    const int64_t present = columns < width ? columns : width;
    for (int r = 0; r < Rows; ++r)
      for (int64_t k = 0; k < present; ++k) convert(buffer[r * width + k], out + r * output_stride + k);
  }

  void all(int64_t rows) const {
    int64_t i = 0;
    for (; i + kRows <= rows; i += kRows) tile<kRows>(i);
    if (kRows == 8 && rows - i >= 4) tile<4>(i), i += 4;
    if (rows - i >= 2) tile<2>(i), i += 2;
    if (rows - i >= 1) tile<1>(i);
  }
};

template <typename E>
static void multiply(const accumulate_t<E>* left, int64_t left_stride, const accumulate_t<E>* right,
                     int64_t right_stride, int64_t depth, int64_t rows, int64_t columns, E* output,
                     int64_t output_stride) {
  constexpr int lanes = kLanes<accumulate_t<E>>;
  int64_t k = 0;
  while (k < columns) {
    const int64_t rest = columns - k, vectors = (rest + lanes - 1) / lanes;
    const int64_t taken = vectors == 4 ? 2 : vectors > kColumns ? kColumns : vectors;  // 4 as 2 + 2, not 3 + 1
    const auto* r = right + k;
    E* out = output + k;
    if (taken == 3) Strip<E, 3>{left, left_stride, r, right_stride, depth, rest, out, output_stride}.all(rows);
    if (taken == 2) Strip<E, 2>{left, left_stride, r, right_stride, depth, rest, out, output_stride}.all(rows);
    if (taken == 1) Strip<E, 1>{left, left_stride, r, right_stride, depth, rest, out, output_stride}.all(rows);
    k += taken * lanes;
  }
}

template <typename E>
constexpr GramKernels<E> gram_kernels() {
  using T = accumulate_t<E>;
  return {kLanes<T>, kTile, kTileSlot<T>, pack<E>, shift_and_scale<T>, row_products<T>, accumulate<T>, multiply<E>};
}
