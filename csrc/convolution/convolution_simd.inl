// Inner loops of 3x3 convolutions by tiles: Winograd's minimal filtering F(4x4, 3x3) in the form of Lavin and Gray,
// "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, with other points.
//
// A row of 6 px and one of 3 weights are polynomials, evaluated at 0, +-3/4, +-3/2 and infinity, where they are
// multiplied. These points are exact in binary, and rounding errors come out half as large as with 0, +-1, +-2.
namespace cnnfast::convolution {
namespace {

constexpr float kNear = 0.75f, kFar = 1.5f;
constexpr float kNear2 = kNear * kNear, kFar2 = kFar * kFar;

// Values of 6 px, from d[0], d[step], ... to out[0], out[out_step], ...
static inline void evaluate_pixels(const vector_float* d, int step, vector_float* out, int out_step) {
  const vector_float d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
  const vector_float near_even = d4 - kFar2 * d2, near_odd = kNear * (d3 - kFar2 * d1);
  const vector_float far_even = d4 - kNear2 * d2, far_odd = kFar * (d3 - kNear2 * d1);
  out[0] = kNear2 * kFar2 * d0 - (kNear2 + kFar2) * d2 + d4;
  out[out_step] = near_even + near_odd;
  out[2 * out_step] = near_even - near_odd;
  out[3 * out_step] = far_even + far_odd;
  out[4 * out_step] = far_even - far_odd;
  out[5 * out_step] = kNear2 * kFar2 * d1 - (kNear2 + kFar2) * d3 + d5;
}

// Values of 3 weights.
static inline void evaluate_weights(const vector_float* g, int step, vector_float* out, int out_step) {
  constexpr float at_zero = 1 / (kNear2 * kFar2);
  constexpr float at_near = 1 / (2 * kNear2 * (kNear2 - kFar2)), at_far = 1 / (2 * kFar2 * (kFar2 - kNear2));
  const vector_float g0 = g[0], g1 = g[step], g2 = g[2 * step];
  const vector_float near_even = at_near * (g0 + kNear2 * g2), near_odd = at_near * kNear * g1;
  const vector_float far_even = at_far * (g0 + kFar2 * g2), far_odd = at_far * kFar * g1;
  out[0] = at_zero * g0;
  out[out_step] = near_even + near_odd;
  out[2 * out_step] = near_even - near_odd;
  out[3 * out_step] = far_even + far_odd;
  out[4 * out_step] = far_even - far_odd;
  out[5 * out_step] = g2;
}

// 4 px from the products of 6 values.
static inline void interpolate(const vector_float* m, int step, vector_float* out, int out_step) {
  const vector_float near_sum = m[step] + m[2 * step], near_difference = m[step] - m[2 * step];
  const vector_float far_sum = m[3 * step] + m[4 * step], far_difference = m[3 * step] - m[4 * step];
  out[0] = m[0] + near_sum + far_sum;
  out[out_step] = kNear * near_difference + kFar * far_difference;
  out[2 * out_step] = kNear2 * near_sum + kFar2 * far_sum;
  out[3 * out_step] = m[5 * step] + kNear * kNear2 * near_difference + kFar * kFar2 * far_difference;
}

static void transform_input(const float* const* pixels, int64_t channels, float* out, int64_t spread) {
  for (int64_t c = 0; c < channels; c += kLanes<float>) {
    vector_float square[kTileValues], columns[kTileValues], values[kTileInput];
#pragma GCC unroll 36
    for (int i = 0; i < kTileValues; ++i) square[i] = load(pixels[i] + c);
#pragma GCC unroll 6
    for (int j = 0; j < kTileInput; ++j) evaluate_pixels(square + j, kTileInput, columns + j, kTileInput);
#pragma GCC unroll 6
    for (int i = 0; i < kTileInput; ++i) {
      evaluate_pixels(columns + i * kTileInput, 1, values, 1);
#pragma GCC unroll 6
      for (int j = 0; j < kTileInput; ++j) store(out + (i * kTileInput + j) * spread + c, values[j]);
    }
  }
}

static void transform_weights(const float* weights, WeightStrides strides, int64_t channels, float* out,
                              int64_t spread) {
  constexpr int lanes = kLanes<float>;
  for (int64_t c = 0; c < channels; c += lanes) {
    for (int64_t o = 0; o < kChannelPanel; o += lanes) {
      vector_float taps[9][lanes];  // of one input channel, over output channels
      for (int tap = 0; tap < 9; ++tap) {
        const float* corner = weights + tap * strides.tap + c * strides.input + o * strides.output;
        const int64_t step = strides.output == 1 ? strides.input : strides.output;
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) taps[tap][i] = load(corner + i * step);
        if (strides.output != 1) transpose<float>(taps[tap]);
      }
      for (int i = 0; i < lanes; ++i) {
        vector_float columns[3 * kTileInput], values[kTileInput];
#pragma GCC unroll 3
        for (int j = 0; j < 3; ++j) evaluate_weights(&taps[j][i], 3 * lanes, columns + j, 3);
        float* to = out + (c + i) * kChannelPanel + o;
#pragma GCC unroll 6
        for (int row = 0; row < kTileInput; ++row) {
          evaluate_weights(columns + 3 * row, 1, values, 1);
#pragma GCC unroll 6
          for (int j = 0; j < kTileInput; ++j) store(to + (row * kTileInput + j) * spread, values[j]);
        }
      }
    }
  }
}

// Two vectors of output channels; with 12 rows of tiles (6 with 16 registers) their sums nearly fill the registers.
constexpr int kTileRows = CNNFAST_REGISTERS == 32 ? 12 : 6;

template <int Rows>
static inline void multiply_tiles(const float* tiles, int64_t stride, const float* weights, int64_t channels,
                                  float* out) {
  constexpr int lanes = kLanes<float>;
  vector_float sums[Rows][2] = {};
  for (int64_t c = 0; c < channels; ++c) {
    const vector_float first = load(weights), second = load(weights + lanes);
#pragma GCC unroll 12
    for (int r = 0; r < Rows; ++r) {
      const float value = tiles[r * stride + c];
      sums[r][0] += value * first;
      sums[r][1] += value * second;
    }
    weights += kChannelPanel;
  }
#pragma GCC unroll 12
  for (int r = 0; r < Rows; ++r) {
    store(out + r * kChannelPanel, sums[r][0]);
    store(out + r * kChannelPanel + lanes, sums[r][1]);
  }
}

static void multiply_panel(const float* tiles, int64_t stride, const float* weights, int64_t channels, int64_t count,
                           float* out) {
  for (int64_t t = 0; t < count;) {
    const int64_t left = count - t, rows = left >= kTileRows ? kTileRows : left >= 4 ? 4 : left >= 2 ? 2 : 1;
    for (int64_t o = 0; o < kChannelPanel; o += 2 * kLanes<float>) {
      const float* from = tiles + t * stride;
      float* to = out + t * kChannelPanel + o;
      if (rows == kTileRows) multiply_tiles<kTileRows>(from, stride, weights + o, channels, to);
      if (rows == 4) multiply_tiles<4>(from, stride, weights + o, channels, to);
      if (rows == 2) multiply_tiles<2>(from, stride, weights + o, channels, to);
      if (rows == 1) multiply_tiles<1>(from, stride, weights + o, channels, to);
    }
    t += rows;
  }
}

static void transform_output(const float* values, int64_t spread, const float* bias, float* const* pixels) {
  for (int64_t o = 0; o < kChannelPanel; o += kLanes<float>) {
    vector_float square[kTileValues], columns[kTileOutput * kTileInput], results[kTileOutput];
#pragma GCC unroll 36
    for (int i = 0; i < kTileValues; ++i) square[i] = load(values + i * spread + o);
#pragma GCC unroll 6
    for (int j = 0; j < kTileInput; ++j) interpolate(square + j, kTileInput, columns + j, kTileInput);
    const vector_float offset = load(bias + o);
#pragma GCC unroll 4
    for (int i = 0; i < kTileOutput; ++i) {
      interpolate(columns + i * kTileInput, 1, results, 1);
#pragma GCC unroll 4
      for (int j = 0; j < kTileOutput; ++j) store(pixels[i * kTileOutput + j] + o, results[j] + offset);
    }
  }
}

}  // namespace

const Kernels CNNFAST_TABLE = {transform_input, transform_weights, multiply_panel, transform_output};

}  // namespace cnnfast::convolution
