// Threads from torch's own pool: torch.set_num_threads is honoured and no OpenMP library is linked.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>

#include "core/division.h"

namespace cnnfast {

// Waking a thread costs about as much as this many multiply-adds.
constexpr int64_t kWorkPerThread = 1 << 16;

// How many threads to use for `items` that hold `work` multiply-adds in all.
inline int64_t worker_count(int64_t items, int64_t work) {
  const int64_t threads = torch::stable::get_num_threads();
  return std::max<int64_t>(1, std::min({items, work / kWorkPerThread, threads}));
}

// Calls body(worker, item, next) for every item. Items are handed out in increasing order to whichever worker is free;
// what an item computes must not depend on the worker. `next` is the item that this worker does afterwards, so that its
// data can be prefetched or packed; -1 if there is none, or too few items to hand out two at a time. Inside another
// parallel region one thread does everything.
template <typename Body>
void for_each_item(int64_t items, int64_t workers, const Body& body) {
  std::atomic<int64_t> handed_out{0};
  const auto take = [&] { return handed_out.fetch_add(1, std::memory_order_relaxed); };
  const bool looks_ahead = items >= 8 * workers;
  torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      int64_t item = take();
      while (item < items) {
        const int64_t next = looks_ahead ? take() : -1;
        body(worker, item, next < items ? next : -1);
        item = looks_ahead ? next : take();
      }
    }
  });
}

// The position-th of `items` when the items are cut into `workers` runs that advance side by side: threads then write
// to memory far from each other and do not wait for each other's page faults.
inline int64_t side_by_side(int64_t position, int64_t items, int64_t workers) {
  const int64_t shortest = items / workers, longer = items % workers;  // the first `longer` runs have one item more
  const int64_t run = position % workers, step = position / workers;
  return run * shortest + std::min(run, longer) + step;
}

// Lets steps 0, 1, 2, ... of one sum happen in that order, whichever worker does them: the bits of the result do not
// depend on the number of threads. Free of deadlock because items are handed out in increasing order: the
// smallest unfinished item waits for nobody, and its worker is busy with it, not with a later one.
class Turn {
 public:
  void await(int64_t step) const {
    while (done_.load(std::memory_order_acquire) != step) std::this_thread::yield();
  }
  void finish(int64_t step) { done_.store(step + 1, std::memory_order_release); }

 private:
  std::atomic<int64_t> done_{0};
};

}  // namespace cnnfast
