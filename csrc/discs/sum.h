// The sum over discs on the CPU.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/memory.h"
#include "core/parallel.h"
#include "discs/window.h"

namespace cnnfast::discs {

template <typename E>
class DiscSum {
 public:
  using T = accumulate_t<E>;

  // output: (N, 1, H + 2 pad, W + 2 pad), zero where no disc reaches
  DiscSum(const Bins<E>& bins, const std::vector<int64_t>& radii, const T* weight, int64_t pad, bool noisy_or,
          T* output)
      : bins_(bins),
        radii_(radii),
        weight_(weight),
        noisy_or_(noisy_or),
        pad_(pad),
        output_(output),
        reached_(radii, pad),
        plan_(plan_classes(radii)),
        tiling_(bins.images, bins.height + 2 * reached_.border, bins.width + 2 * reached_.border, reached_.radius,
                Window<E>::rows_kept(radii)) {}

  void run() const {
    const int64_t pixels = bins_.images * (bins_.height + 2 * reached_.border) * (bins_.width + 2 * reached_.border);
    const int64_t workers = worker_count(tiling_.items(), pixels * (plan_.longest() + 2 * reached_.radius));
    std::vector<std::unique_ptr<Worker>> states;
    for (int64_t w = 0; w < workers; ++w) states.push_back(std::make_unique<Worker>(*this));
    for_each_item(tiling_.items(), workers, [&](int64_t w, int64_t item, int64_t) { states[w]->sum(item); });
  }

 private:
  struct Worker {
    const DiscSum& call;
    Window<E> window;
    const int64_t plane;  // the sums of one output row
    Scratch<T> sums;
    std::vector<const T*> rows;
    std::vector<int64_t> ends;
    int64_t padded = 0;

    explicit Worker(const DiscSum& call)
        : call(call),
          window(call.bins_, call.radii_, call.reached_, call.tiling_),
          plane(call.plan_.sums() * window.pitch()),
          sums(kRowsAtOnce * plane),
          rows(kRowsAtOnce * call.plan_.longest()),
          ends(call.plan_.sums()) {}

    void sum(int64_t item) {
      const Span images = call.tiling_.images(item), lines = call.tiling_.rows(item);
      const Span columns = call.tiling_.columns(item);
      window.begin(images, lines, columns);
      if (window.padded() != padded) {  // margins stay zero from here on
        std::fill_n(sums.get(), kRowsAtOnce * plane, T(0));
        padded = window.padded();
      }
      for (int64_t y = lines.begin; y < lines.end; y += kRowsAtOnce) {
        const int64_t count = std::min(kRowsAtOnce, lines.end - y);
        const int64_t next = std::min(lines.end, y + 2 * kRowsAtOnce);
        sum_classes(y - call.reached_.border, count, next - call.reached_.border);
        for (int64_t t = 0; t < count; ++t)
          for (int64_t i = 0; i < images.size(); ++i)
            kernels().of<E>().widen(sums.get() + t * plane + window.result_place(i), window.pitch(),
                                    call.reached_.radius, columns.size(),
                                    call.at(images.begin + i, y + t, columns.begin));
      }
    }

    // The sums of `count` rows from y on. Prefetches the bins of the rows after them, up to row `next`. Below
    // kRowsAtOnce rows, the sums of the others are computed from whatever the ring holds, and are not used.
    void sum_classes(int64_t y, int64_t count, int64_t next) {
      const RowPlan& plan = call.plan_;
      window.pack(y + count - 1, call.weight_, call.noisy_or_, 0);
      window.ring().template gather<kRowsAtOnce>(plan, y, call.bins_.height, rows.data(), ends.data(),
                                                 [](int64_t, int64_t) {});
      const RowSums<T> job = {rows.data(),     ends.data(), plan.sums(), sums.get() + plane - window.pitch(),
                              -window.pitch(), plane};
      kernels().of<E>().sum_rows(job, true, window.vectors(), window.places(), window.look_ahead(next - 1));
    }
  };

  // Row y and column x of the part of the output that discs reach.
  T* at(int64_t image, int64_t y, int64_t x) const {
    const int64_t outside = pad_ - reached_.border, height = bins_.height + 2 * pad_, width = bins_.width + 2 * pad_;
    return output_ + (image * height + y + outside) * width + x + outside;
  }

  const Bins<E>& bins_;
  const std::vector<int64_t>& radii_;
  const T* weight_;
  const bool noisy_or_;
  const int64_t pad_;
  T* output_;
  const Reached reached_;
  const RowPlan plan_;
  const Tiling tiling_;
};

}  // namespace cnnfast::discs
