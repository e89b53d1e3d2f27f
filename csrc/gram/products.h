// Weighted products of feature maps, sum_k w_k (x_ik - mu_i)(y_jk - nu_j), the work behind every matrix of the Gram family.
#pragma once

#include <algorithm>
#include <memory>

#include "core/parallel.h"
#include "gram/features.h"

namespace cnnfast {

// Channels come in blocks of about 64 and pixels in chunks, so that the panels of two blocks stay in a second-level cache.
// Each chunk is summed in T, vector lane by vector lane; chunks are added in double, in order. None of the sizes depends
// on the number of threads.
constexpr int64_t kBlockChannels = 64;
constexpr int64_t kPanelBytes = 512 * 1024;
constexpr int64_t kLongestChunk = 4096;
constexpr int64_t kShortestChunk = 512;
constexpr int64_t kFewestItems = 16;

struct Blocks {
  int64_t channels, count, size;

  Blocks(int64_t channels, int64_t tile)
      : channels(channels),
        count(divide_up(channels, kBlockChannels)),
        size(round_up(divide_up(channels, std::max<int64_t>(count, 1)), tile)) {
    count = size ? divide_up(channels, size) : 0;
  }
  int64_t begin(int64_t block) const { return block * size; }
  int64_t rows(int64_t block) const { return std::min(size, channels - begin(block)); }
};

// The finished sums of one pair of blocks. Calls f(i, j, sum) with indices of channels; of a symmetric matrix's diagonal
// block only the upper triangle.
struct BlockSums {
  const double* tiles;
  int64_t tile, slot, first_row, first_column, rows, columns;
  bool upper;

  template <typename F>
  void for_each(const F& f) const {
    const double* values = tiles;
    for (int64_t i0 = 0; i0 < rows; i0 += tile) {
      for (int64_t j0 = upper ? i0 : 0; j0 < columns; j0 += tile, values += slot) {
        for (int64_t i = i0; i < std::min(i0 + tile, rows); ++i)
          for (int64_t j = upper ? std::max(i, j0) : j0; j < std::min(j0 + tile, columns); ++j)
            f(first_row + i, first_column + j, values[(i - i0) * tile + (j - j0)]);
      }
    }
  }
};

template <typename EX, typename EY>
class Products {
 public:
  using T = accumulate_t<EX>;
  static_assert(std::is_same_v<T, accumulate_t<EY>>);

  // shifts: (N, R, C) or null. With `symmetric`, x and y are the same maps and only blocks on and above the diagonal exist.
  Products(const Features<EX>& x, const Features<EY>& y, const PixelWeights<T>& weights, const T* x_shift,
           const T* y_shift, bool symmetric)
      : x_(x),
        y_(y),
        weights_(weights),
        x_shift_(x_shift),
        y_shift_(y_shift),
        symmetric_(symmetric),
        x_blocks_(x.channels, gram_kernels<EX>().tile),
        y_blocks_(y.channels, gram_kernels<EX>().tile) {
    const int64_t tile = gram_kernels<EX>().tile, lanes = gram_kernels<EX>().lanes;
    one_panel_ = symmetric && x_blocks_.count <= 1 && !weights.data;
    const int64_t rows = one_panel_ ? x_blocks_.size : x_blocks_.size + y_blocks_.size;
    const int64_t longest =
        std::clamp<int64_t>(kPanelBytes / int64_t(sizeof(T)) / std::max<int64_t>(rows, 1), kShortestChunk, kLongestChunk);
    const int64_t wanted = divide_up(kFewestItems, std::max<int64_t>(x.batch * weights.regions * x_blocks_.count, 1));
    chunks_ = std::max({int64_t(1), divide_up(x.pixels, longest), std::min(wanted, x.pixels / kShortestChunk)});
    chunk_ = round_up(divide_up(x.pixels, chunks_), lanes);
    chunks_ = std::max<int64_t>(1, chunk_ ? divide_up(x.pixels, chunk_) : 1);
    stride_ = chunk_ + lanes;  // not a power of two: rows must not fall into the same cache sets
    slots_ = (x_blocks_.size / tile) * (y_blocks_.size / tile) * gram_kernels<EX>().tile_slot;
    pairs_ = symmetric ? x_blocks_.count * (x_blocks_.count + 1) / 2 : x_blocks_.count * y_blocks_.count;
  }

  int64_t pairs() const { return pairs_; }

  // Calls finish(n * R + r, pair, sums) once for every image, region and pair of blocks, from any thread.
  template <typename Finish>
  void run(const Finish& finish) const {
    const int64_t matrices = x_.batch * weights_.regions;
    // A matrix's sums live until its last chunk: a few matrices at a time bound the memory of large batches.
    const int64_t group = std::max<int64_t>(1, std::min(matrices, (int64_t(1) << 20) / std::max<int64_t>(pairs_ * slots_, 1)));
    for (int64_t first = 0; first < matrices; first += group) run_group(first, std::min(group, matrices - first), finish);
  }

 private:
  // Working memory of one thread.
  struct Workspace {
    T *left, *right, *weight, *ones, *tiles;
  };
  int64_t workspace_size() const {
    return (x_blocks_.size + (one_panel_ ? 0 : y_blocks_.size)) * stride_ + 2 * stride_ + slots_;
  }
  Workspace workspace(T* memory) const {
    Workspace w;
    w.left = memory;
    w.right = one_panel_ ? w.left : w.left + x_blocks_.size * stride_;
    w.weight = w.right + y_blocks_.size * stride_;
    w.ones = w.weight + stride_;
    w.tiles = w.ones + stride_;
    return w;
  }

  template <typename Finish>
  void run_group(int64_t first, int64_t matrices, const Finish& finish) const {
    const int64_t rows = x_blocks_.count, items = matrices * chunks_ * rows, workers = worker_count(items);
    const Scratch<double> sums(matrices * pairs_ * slots_);
    const std::unique_ptr<Turn[]> turns(new Turn[matrices * pairs_]);
    const int64_t size = round_up(workspace_size(), 64 / int64_t(sizeof(T)));
    const Scratch<T> memory(workers * size);
    for_each_item(items, workers, [&](int64_t worker, int64_t item) {
      const int64_t matrix = item / (chunks_ * rows), chunk = item / rows % chunks_, row = item % rows;
      const Workspace w = workspace(memory.get() + worker * size);
      products_of_row(w, first + matrix, chunk, row, [&](int64_t column, int64_t pair) {
        const int64_t slot = matrix * pairs_ + pair;
        double* total = sums.get() + slot * slots_;
        turns[slot].await(chunk);
        gram_kernels<EX>().accumulate(w.tiles, slots_, chunk == 0, total);
        if (chunk + 1 == chunks_) finish(first + matrix, pair, block_sums(total, row, column));
        turns[slot].finish(chunk);
      });
    });
  }

  BlockSums block_sums(const double* total, int64_t row, int64_t column) const {
    return {total,
            gram_kernels<EX>().tile,
            gram_kernels<EX>().tile_slot,
            x_blocks_.begin(row),
            y_blocks_.begin(column),
            x_blocks_.rows(row),
            y_blocks_.rows(column),
            symmetric_ && row == column};
  }

  // Products of one block of x with all its blocks of y over one chunk; done(column, pair) after each.
  template <typename Done>
  void products_of_row(const Workspace& w, int64_t matrix, int64_t chunk, int64_t row, const Done& done) const {
    const int64_t n = matrix / weights_.regions, r = matrix % weights_.regions;
    const int64_t start = chunk * chunk_, pixels = std::min(chunk_, x_.pixels - start);
    const int64_t padded = round_up(pixels, gram_kernels<EX>().lanes);
    const T* weight = weights_.row(n, r);
    if (weight) fill(w.weight, weight + start, pixels, padded);
    if (x_shift_ || y_shift_) fill(w.ones, nullptr, pixels, padded);
    const Slice at{n, r, start, pixels, padded};
    pack(x_, x_blocks_, row, x_shift_, at, w, w.left);
    for (int64_t column = symmetric_ ? row : 0; column < y_blocks_.count; ++column) {
      const bool upper = symmetric_ && row == column;
      const T* right = w.right;
      if (upper && !weight) {
        right = w.left;
      } else {
        pack(y_, y_blocks_, column, y_shift_, at, w, w.right);
      }
      if (weight && column == (symmetric_ ? row : 0))
        gram_kernels<EX>().shift_and_scale(w.left, nullptr, w.weight, x_blocks_.rows(row), padded, w.left, stride_);
      gram_kernels<EX>().row_products(w.left, right, stride_, round_up(x_blocks_.rows(row), gram_kernels<EX>().tile),
                                      round_up(y_blocks_.rows(column), gram_kernels<EX>().tile), padded, upper, w.tiles);
      done(column, pair_index(row, column));
    }
  }

  int64_t pair_index(int64_t row, int64_t column) const {
    return symmetric_ ? row * y_blocks_.count - row * (row - 1) / 2 + column - row : row * y_blocks_.count + column;
  }

  struct Slice {
    int64_t n, r, start, pixels, padded;
  };

  template <typename E>
  void pack(const Features<E>& features, const Blocks& blocks, int64_t block, const T* shift, const Slice& at,
            const Workspace& w, T* panel) const {
    const int64_t rows = blocks.rows(block), begin = blocks.begin(block);
    gram_kernels<E>().pack(features.at(at.n, begin, at.start), features.channel_stride, features.pixel_stride, rows,
                           round_up(rows, gram_kernels<E>().tile), at.pixels, panel, stride_);
    if (!shift) return;
    const T* means = shift + (at.n * weights_.regions + at.r) * features.channels + begin;
    gram_kernels<E>().shift_and_scale(panel, means, w.ones, rows, at.padded, panel, stride_);
  }

  static void fill(T* row, const T* source, int64_t pixels, int64_t padded) {
    for (int64_t k = 0; k < pixels; ++k) row[k] = source ? source[k] : T(1);
    for (int64_t k = pixels; k < padded; ++k) row[k] = T(0);
  }

  Features<EX> x_;
  Features<EY> y_;
  PixelWeights<T> weights_;
  const T *x_shift_, *y_shift_;
  bool symmetric_, one_panel_;
  Blocks x_blocks_, y_blocks_;
  int64_t chunks_, chunk_, stride_, slots_, pairs_;
};

}  // namespace cnnfast
