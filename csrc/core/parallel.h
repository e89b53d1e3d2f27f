// Threads from torch's own pool: torch.set_num_threads is honoured and no OpenMP library is linked.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <thread>

namespace cnnfast {

inline int64_t worker_count(int64_t items) {
  return std::max<int64_t>(1, std::min<int64_t>(items, torch::stable::get_num_threads()));
}

// Calls body(worker, item) for every item. Items are handed out in increasing order to whichever worker is free; what an
// item computes must not depend on the worker. Inside another parallel region one thread does everything.
template <typename Body>
void for_each_item(int64_t items, int64_t workers, const Body& body) {
  std::atomic<int64_t> next{0};
  torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker)
      for (int64_t item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;) body(worker, item);
  });
}

// Lets steps 0, 1, 2, ... of one sum happen in that order, whichever worker does them: the bits of the result do not
// depend on the number of threads. Free of deadlock because items are handed out in increasing order.
class Turn {
 public:
  void await(int64_t step) const {
    while (done_.load(std::memory_order_acquire) != step) std::this_thread::yield();
  }
  void finish(int64_t step) { done_.store(step + 1, std::memory_order_release); }

 private:
  std::atomic<int64_t> done_{0};
};

// Uninitialised working memory, aligned to the widest vector and a cache line.
template <typename T>
class Scratch {
 public:
  explicit Scratch(int64_t count)
      : data_(static_cast<T*>(::operator new(std::max<int64_t>(count, 1) * sizeof(T), std::align_val_t(64)))) {}
  ~Scratch() { ::operator delete(data_, std::align_val_t(64)); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* get() const { return data_; }
  T& operator[](int64_t i) const { return data_[i]; }

 private:
  T* data_;
};

inline int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
inline int64_t divide_up(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

}  // namespace cnnfast
