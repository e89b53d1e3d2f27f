// Epilogues of the products on CUDA, and factors of the gradients: function objects that the kernels call for one entry
// of a matrix.
#pragma once

#include <cstdint>

#include "core/runtime.h"
#include "gram/gram_math.h"

namespace cnnfast::gram {

// 1 / Z of every matrix, from weight sums that stay on the device: the host never waits for them.
template <typename T>
struct InverseDivisors {
  const T* weight_sums;  // (count), repeated; null without weights
  int64_t count;
  Normalize normalize;
  double divisor;
  int64_t channels, pixels;

  __device__ double operator()(int64_t matrix) const {
    const double sum = weight_sums ? double(weight_sums[matrix % count]) : double(pixels);
    return inverse_divisor(normalize, divisor, sum, channels);
  }
};

// Stores the sums unchanged.
template <typename T>
struct StoreSum {
  T* out;
  __device__ double operator()(int64_t matrix, int64_t, int64_t, double sum) const {
    out[matrix] = T(sum);
    return 0;
  }
};

// Stores the sums divided by Z, in both triangles of a symmetric matrix.
template <typename T>
struct StoreMatrix {
  InverseDivisors<T> inverse;
  int64_t rows, columns;
  bool symmetric;
  T* out;

  __device__ double operator()(int64_t matrix, int64_t i, int64_t j, double sum) const {
    T* g = out + matrix * rows * columns;
    const T value = T(divided(sum, inverse(matrix)));
    g[i * columns + j] = value;
    if (symmetric) g[j * columns + i] = value;
    return 0;
  }
};

// Stores (D + D^T) / 2 with D = G - target; the sum of the squares of D goes into the block's total.
template <typename T>
struct StoreDifference {
  InverseDivisors<T> inverse;
  int64_t channels;
  const T* target;
  int64_t targets;  // matrices in target, repeated
  T* out;

  __device__ double operator()(int64_t matrix, int64_t i, int64_t j, double sum) const {
    const T* wanted = target + matrix % targets * channels * channels;
    T* s = out + matrix * channels * channels;
    const double g = divided(sum, inverse(matrix));
    const double above = g - double(wanted[i * channels + j]), below = g - double(wanted[j * channels + i]);
    s[i * channels + j] = s[j * channels + i] = T(0.5 * (above + below));
    return i == j ? above * above : above * above + below * below;
  }
};

// Factors of the gradients: value(matrix, i, j) multiplies channel j of the features in channel i of the gradient.

template <typename T>
struct SymmetricFactor {
  const T* grad;  // (matrices, channels, channels)
  int64_t channels;
  __device__ double operator()(int64_t matrix, int64_t i, int64_t j) const {
    const T* r = grad + matrix * channels * channels;
    return double(r[i * channels + j]) + double(r[j * channels + i]);
  }
};

template <typename T>
struct PlainFactor {
  const T* grad;  // (matrices, rows, columns)
  int64_t rows, columns;
  __device__ double operator()(int64_t matrix, int64_t i, int64_t j) const {
    return double(grad[(matrix * rows + i) * columns + j]);
  }
};

template <typename T>
struct LossFactor {
  const T* grad;        // (matrices)
  const T* difference;  // (matrices, channels, channels), symmetric
  int64_t channels;
  __device__ double operator()(int64_t matrix, int64_t i, int64_t j) const {
    return 4 * double(grad[matrix]) * double(difference[(matrix * channels + j) * channels + i]);
  }
};

}  // namespace cnnfast::gram
