// Inner loops of 2x2 pooling behind a ReLU. A NaN passes the ReLU and wins the maximum.
namespace cnnfast::pooling {
namespace {

using pixel_mask = Vector<float>::index;

// v in the lanes where the mask is set, else 0.
static inline vector_float masked(vector_float v, pixel_mask mask) { return vector_float(pixel_mask(v) & mask); }

template <bool Average>
static inline vector_float pool_pixels(const vector_float* px, pixel_mask& bits) {
  bits = pixel_mask{};
  if constexpr (Average) {
    vector_float sum = {};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const pixel_mask passes = ~(px[i] <= 0.0f);
      sum += masked(px[i], passes);
      bits |= passes & (1 << i);
    }
    return 0.25f * sum;
  } else {
    vector_float largest = px[0];
    bits += 1;
#pragma GCC unroll 4
    for (int i = 1; i < 4; ++i) {
      const pixel_mask wins = (px[i] > largest) | (px[i] != px[i]);
      largest = wins ? px[i] : largest;
      bits = wins ? pixel_mask{} + (1 << i) : bits;
    }
    const pixel_mask passes = ~(largest <= 0.0f);
    bits &= passes;
    return masked(largest, passes);
  }
}

template <typename E, bool Average>
static void pool_pixel_row(const E* top, const E* bottom, int64_t width, int64_t channels, E* out, uint8_t* bits) {
  constexpr int lanes = kLanes<float>;
  for (int64_t x = 0; x < width; ++x) {
    const E* corners[4] = {top, top + channels, bottom, bottom + channels};
    for (int64_t block = 0; block < channels; block += kChannelBlock) {
      for (int64_t part = 0; part < kBlockLanes; part += lanes) {
        pixel_mask packed = {};
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
          const int64_t c = block + kBlockLanes * k + part;
          vector_float px[4];
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) px[i] = load(corners[i] + c);
          pixel_mask own;
          store(out + c, pool_pixels<Average>(px, own));
          packed |= own << (8 * k);
        }
        store_lanes(bits + block + 4 * part, packed);
      }
    }
    top += 2 * channels, bottom += 2 * channels, out += channels, bits += channels;
  }
}

template <typename E>
static void pool_row(const E* top, const E* bottom, int64_t width, int64_t channels, bool average, E* out,
                     uint8_t* bits) {
  if (average) {
    pool_pixel_row<E, true>(top, bottom, width, channels, out, bits);
  } else {
    pool_pixel_row<E, false>(top, bottom, width, channels, out, bits);
  }
}

template <typename E>
static void unpool_row(const E* gradient, const uint8_t* bits, int64_t width, int64_t channels, bool average, E* top,
                       E* bottom) {
  constexpr int lanes = kLanes<float>;
  const float factor = average ? 0.25f : 1.0f;
  for (int64_t x = 0; x < width; ++x) {
    E* corners[4] = {top, top + channels, bottom, bottom + channels};
    for (int64_t block = 0; block < channels; block += kChannelBlock) {
      for (int64_t part = 0; part < kBlockLanes; part += lanes) {
        const auto packed = load_lanes<pixel_mask>(bits + block + 4 * part);
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
          const int64_t c = block + kBlockLanes * k + part;
          const vector_float value = factor * load(gradient + c);
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) {
            // The left shift moves the bit to the sign, the arithmetic right shift fills the lane with it.
            store(corners[i] + c, masked(value, pixel_mask(packed << (31 - 8 * k - i)) >> 31));
          }
        }
      }
    }
    top += 2 * channels, bottom += 2 * channels, gradient += channels, bits += channels;
  }
}

template <typename E>
constexpr RowKernels<E> row_kernels = {pool_row<E>, unpool_row<E>};

}  // namespace

const Kernels CNNFAST_TABLE = {row_kernels<float>, row_kernels<bfloat16_bits>};

}  // namespace cnnfast::pooling
