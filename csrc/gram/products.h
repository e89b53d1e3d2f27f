// Weighted products of feature maps, sum_k w_k (x_ik - mu_i)(y_jk - nu_j), the work behind every matrix of the Gram
// family.
#pragma once

#include <algorithm>
#include <memory>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/memory.h"
#include "core/parallel.h"
#include "gram/features.h"
#include "gram/table.h"

namespace cnnfast::gram {

// Channels are cut into blocks and pixels into chunks, so that a thread's panels stay in a second-level cache of 1 MiB.
// The partial sum of a chunk is formed in T, in the lanes of vectors; partial sums are added in double, in order. A
// lane sums at most kLongestSum terms: equal features round to the same side every time, so the error grows with the
// number of terms. Chunks become shorter only to give several threads kFewestItems items, and a lane never sums fewer
// than kShortestSum terms, since every chunk pays for a sum across lanes. No size depends on the number of threads.
constexpr int64_t kBlockChannels = 80;
constexpr int64_t kPanelBytes = 896 * 1024;
constexpr int64_t kLongestSum = 128;
constexpr int64_t kShortestSum = 32;
constexpr int64_t kFewestItems = 16;

struct Blocks {
  int64_t channels, size, count;

  // Whole tiles, and whole vectors of channels if there are several blocks: channels_last maps are read by vectors.
  Blocks(int64_t channels, int64_t tile, int64_t lanes) : channels(channels), size(round_up(channels, tile)) {
    if (channels > kBlockChannels) size = kBlockChannels / std::lcm(tile, lanes) * std::lcm(tile, lanes);
    count = size ? divide_up(channels, size) : 0;
  }
  int64_t begin(int64_t block) const { return block * size; }
  int64_t rows(int64_t block) const { return std::min(size, channels - begin(block)); }
};

// The finished sums of one pair of blocks. Calls f(i, j, sum) with indices of channels; of a symmetric matrix's
// diagonal block only the upper triangle.
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

  // shifts: (N, R, C) or null. With `symmetric`, x and y are the same maps and only blocks on and above the diagonal
  // exist.
  Products(const Features<EX>& x, const Features<EY>& y, const PixelWeights<T>& weights, const T* x_shift,
           const T* y_shift, bool symmetric)
      : x_(x),
        y_(y),
        weights_(weights),
        x_shift_(x_shift),
        y_shift_(y_shift),
        symmetric_(symmetric),
        x_blocks_(x.channels, simd().tile, simd().lanes),
        y_blocks_(y.channels, simd().tile, simd().lanes) {
    const int64_t tile = simd().tile, lanes = simd().lanes;
    single_block_ = symmetric && x_blocks_.count <= 1;
    const int64_t row_bytes = panels() * std::max<int64_t>(x_blocks_.size, y_blocks_.size) * int64_t(sizeof(T));
    const int64_t longest =
        std::clamp<int64_t>(kPanelBytes / std::max<int64_t>(row_bytes, 1), kShortestSum * lanes, kLongestSum * lanes);
    const int64_t wanted = divide_up(kFewestItems, std::max<int64_t>(x.batch * weights.regions * x_blocks_.count, 1));
    chunks_ = std::max({int64_t(1), divide_up(x.pixels, longest), std::min(wanted, x.pixels / (kShortestSum * lanes))});
    chunk_ = round_up(divide_up(x.pixels, chunks_), lanes);
    chunks_ = std::max<int64_t>(1, chunk_ ? divide_up(x.pixels, chunk_) : 1);
    stride_ = chunk_ + lanes;  // not a power of two: rows must not fall into the same cache sets
    slots_ = (x_blocks_.size / tile) * (y_blocks_.size / tile) * simd().tile_slot;
    pairs_ = symmetric ? x_blocks_.count * (x_blocks_.count + 1) / 2 : x_blocks_.count * y_blocks_.count;
  }

  int64_t pairs() const { return pairs_; }

  // Calls finish(n * R + r, pair, sums) once for every image, region and pair of blocks, from any thread.
  template <typename Finish>
  void run(const Finish& finish) const {
    const int64_t matrices = x_.batch * weights_.regions;
    // The sums of a matrix are kept until its last chunk: a few matrices at a time bound the memory of large batches.
    const int64_t group =
        std::max<int64_t>(1, std::min(matrices, (int64_t(1) << 20) / std::max<int64_t>(pairs_ * slots_, 1)));
    for (int64_t first = 0; first < matrices; first += group)
      run_group(first, std::min(group, matrices - first), finish);
  }

 private:
  // Working memory of one thread. Panels change roles by swapping: the one packed ahead becomes the right or the left
  // one.
  struct Worker {
    T *left = nullptr, *right = nullptr, *spare = nullptr, *scaled = nullptr, *weight = nullptr, *ones = nullptr;
    T* tiles = nullptr;
    int64_t prepared = -1;  // the item whose left panel is packed already
  };

  static const ElementKernels<EX>& simd() { return kernels().of<EX>(); }
  int64_t panel_size() const { return std::max(x_blocks_.size, y_blocks_.size) * stride_; }
  int64_t panels() const { return (single_block_ ? 2 : 3) + (weights_.data ? 1 : 0); }
  int64_t worker_size() const {
    return round_up(panels() * panel_size() + 2 * stride_ + slots_, kCacheLine / int64_t(sizeof(T)));
  }
  Worker worker(T* memory) const {
    Worker w;
    const auto take = [&](int64_t size) { return std::exchange(memory, memory + size); };
    w.left = take(panel_size());
    w.spare = take(panel_size());
    if (!single_block_) w.right = take(panel_size());
    if (weights_.data) w.scaled = take(panel_size());
    w.weight = take(stride_);
    w.ones = take(stride_);
    w.tiles = take(slots_);
    return w;
  }

  // One block of channels of x in one chunk of one matrix.
  struct Item {
    int64_t matrix, n, r, chunk, row, start, pixels, padded;
  };
  Item item_at(int64_t first, int64_t index) const {
    Item item;
    item.matrix = first + index / (chunks_ * x_blocks_.count);
    item.n = item.matrix / weights_.regions;
    item.r = item.matrix % weights_.regions;
    item.chunk = index / x_blocks_.count % chunks_;
    item.row = index % x_blocks_.count;
    item.start = item.chunk * chunk_;
    item.pixels = std::min(chunk_, x_.pixels - item.start);
    item.padded = round_up(item.pixels, simd().lanes);
    return item;
  }

  template <typename Finish>
  void run_group(int64_t first, int64_t matrices, const Finish& finish) const {
    const int64_t items = matrices * chunks_ * x_blocks_.count, work = matrices * x_.channels * y_.channels * x_.pixels;
    const int64_t workers = worker_count(items, symmetric_ ? work / 2 : work);
    const Scratch<double> sums(matrices * pairs_ * slots_);
    const std::unique_ptr<Turn[]> turns(new Turn[matrices * pairs_]);
    const Scratch<T> memory(workers * worker_size());
    std::vector<Worker> states;
    for (int64_t i = 0; i < workers; ++i) states.push_back(worker(memory.get() + i * worker_size()));
    for_each_item(items, workers, [&](int64_t w, int64_t index, int64_t next) {
      const Item item = item_at(first, index);
      products_of_item(states[w], index, item, next, first, [&](int64_t column, int64_t pair) {
        const int64_t slot = (item.matrix - first) * pairs_ + pair;
        double* total = sums.get() + slot * slots_;
        turns[slot].await(item.chunk);
        simd().accumulate(states[w].tiles, slots_, item.chunk == 0, total);
        if (item.chunk + 1 == chunks_) finish(item.matrix, pair, block_sums(total, item.row, column));
        turns[slot].finish(item.chunk);
      });
    });
  }

  BlockSums block_sums(const double* total, int64_t row, int64_t column) const {
    const Blocks &x = x_blocks_, &y = y_blocks_;
    const bool upper = symmetric_ && row == column;
    return {total, simd().tile, simd().tile_slot, x.begin(row), y.begin(column), x.rows(row), y.rows(column), upper};
  }

  // Products of one block of x with all its blocks of y; done(column, pair) after each. The next panel is packed
  // meanwhile.
  template <typename Done>
  void products_of_item(Worker& w, int64_t index, const Item& item, int64_t next, int64_t first,
                        const Done& done) const {
    if (w.prepared != index) complete(packing(x_, x_blocks_, item.row, item, w.left));
    const T* left = prepare_left(w, item);
    const int64_t begin = symmetric_ ? item.row : 0;
    if (!symmetric_ && y_blocks_.count > 0) complete(packing(y_, y_blocks_, begin, item, w.right));
    for (int64_t column = begin; column < y_blocks_.count; ++column) {
      const bool diagonal = symmetric_ && item.row == column, last = column + 1 == y_blocks_.count;
      if (!diagonal) shift(y_, y_blocks_, column, y_shift_, item, w, w.right);
      Packing<T> ahead;
      if (!last) ahead = packing(y_, y_blocks_, column + 1, item, w.spare);
      const Item following = item_at(first, std::max<int64_t>(next, 0));
      if (last && next >= 0) ahead = packing(x_, x_blocks_, following.row, following, w.spare);
      simd().row_products(left, diagonal ? w.left : w.right, stride_, round_up(x_blocks_.rows(item.row), simd().tile),
                          round_up(y_blocks_.rows(column), simd().tile), item.padded, diagonal, w.tiles,
                          last && next < 0 ? nullptr : &ahead);
      if (!last) std::swap(w.right, w.spare);
      if (last && next >= 0) std::swap(w.left, w.spare);
      done(column, pair_index(item.row, column));
    }
    w.prepared = y_blocks_.count > begin ? next : -1;
  }

  int64_t pair_index(int64_t row, int64_t column) const {
    return symmetric_ ? row * y_blocks_.count - row * (row - 1) / 2 + column - row : row * y_blocks_.count + column;
  }

  template <typename E>
  Packing<T> packing(const Features<E>& features, const Blocks& blocks, int64_t block, const Item& item,
                     T* panel) const {
    const int64_t rows = blocks.rows(block);
    return kernels().of<E>().pack(features.at(item.n, blocks.begin(block), item.start), features.channel_stride,
                                  features.pixel_stride, rows, round_up(rows, simd().tile), item.pixels, panel,
                                  stride_);
  }
  static void complete(Packing<T> packing) { packing.advance(packing, packing.steps); }

  // Centres the packed left panel; with weights, returns its product with them.
  const T* prepare_left(const Worker& w, const Item& item) const {
    if (x_shift_ || y_shift_) fill(w.ones, nullptr, item.pixels, item.padded);
    shift(x_, x_blocks_, item.row, x_shift_, item, w, w.left);
    const T* weight = weights_.row(item.n, item.r);
    if (!weight) return w.left;
    fill(w.weight, weight + item.start, item.pixels, item.padded);
    simd().shift_and_scale(w.left, nullptr, w.weight, round_up(x_blocks_.rows(item.row), simd().tile), item.padded,
                           w.scaled, stride_);
    return w.scaled;
  }

  template <typename E>
  void shift(const Features<E>& features, const Blocks& blocks, int64_t block, const T* means, const Item& item,
             const Worker& w, T* panel) const {
    if (!means) return;
    means += item.matrix * features.channels + blocks.begin(block);
    simd().shift_and_scale(panel, means, w.ones, blocks.rows(block), item.padded, panel, stride_);
  }

  static void fill(T* row, const T* source, int64_t pixels, int64_t padded) {
    for (int64_t k = 0; k < pixels; ++k) row[k] = source ? source[k] : T(1);
    for (int64_t k = pixels; k < padded; ++k) row[k] = T(0);
  }

  Features<EX> x_;
  Features<EY> y_;
  PixelWeights<T> weights_;
  const T *x_shift_, *y_shift_;
  bool symmetric_, single_block_;
  Blocks x_blocks_, y_blocks_;
  int64_t chunks_, chunk_, stride_, slots_, pairs_;
};

}  // namespace cnnfast::gram
