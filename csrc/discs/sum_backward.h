// The gradients of the sum over discs on the CPU: its adjoint, which is a sum over discs too.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <vector>

#include "core/memory.h"
#include "core/parallel.h"
#include "discs/look_ahead.h"
#include "discs/planes.h"
#include "discs/row_plan.h"
#include "discs/tiling.h"

namespace cnnfast::discs {

// With S_n the sum of grad over disc n: bins_gradient = w_n S_n, with noisy_or divided by 1 - b, and weight_gradient =
// the sum of b_n S_n; each unless null.
template <typename E>
class DiscSumBackward {
 public:
  using T = accumulate_t<E>;

  DiscSumBackward(const T* grad, const Bins<E>& bins, const std::vector<int64_t>& radii, const T* weight, int64_t pad,
                  bool noisy_or, E* bins_gradient, T* weight_gradient)
      : grad_(grad),
        bins_(bins),
        weight_(weight),
        pad_(pad),
        noisy_or_(noisy_or),
        bins_gradient_(bins_gradient),
        weight_gradient_(weight_gradient),
        radius_(largest(radii)),
        plan_(plan_discs(radii)),
        slots_(ring_slots(plan_, radius_)),
        tiling_(bins.images, bins.height, bins.width, radius_,
                std::accumulate(slots_.begin(), slots_.end(), int64_t(0))) {}

  void run() const {
    const int64_t pixels = bins_.images * bins_.height * bins_.width, kinds = bins_.kinds;
    const int64_t workers = worker_count(tiling_.items(), pixels * (plan_.longest() + 2 * radius_));
    std::vector<double> products(tiling_.items() * kinds);
    std::vector<std::unique_ptr<Worker>> states;
    for (int64_t w = 0; w < workers; ++w) states.push_back(std::make_unique<Worker>(*this));
    for_each_item(tiling_.items(), workers,
                  [&](int64_t w, int64_t item, int64_t) { states[w]->sum(item, products.data() + item * kinds); });
    if (!weight_gradient_) return;
    for (int64_t n = 0; n < kinds; ++n) {
      double total = 0;
      for (int64_t item = 0; item < tiling_.items(); ++item) total += products[item * kinds + n];
      weight_gradient_[n] = T(total);
    }
  }

 private:
  // The runs of all half widths in a row are summed when the first of them is needed, `radius` rows ahead; each is kept
  // for as long as a disc reaches back to it.
  static std::vector<int64_t> ring_slots(const RowPlan& plan, int64_t radius) {
    std::vector<int64_t> slots(radius + 1, 1);
    for (const RowEntry& entry : plan.entries)
      slots[entry.source] = std::max(slots[entry.source], radius + std::abs(entry.dy) + kRowsAtOnce);
    return slots;
  }

  struct Worker {
    const DiscSumBackward& call;
    const int64_t lanes, margin, widest, pitch;
    RowRing<T> ring;
    Scratch<T> line, sums;  // a row of grad with margins; sums of every bin
    std::vector<const T*> rows;
    std::vector<int64_t> ends, places;
    std::vector<T*> runs;
    LookAhead ahead;
    Span images{}, columns{};
    int64_t formed = 0, padded = 0;

    explicit Worker(const DiscSumBackward& call)
        : call(call),
          lanes(kernels().of<E>().lanes),
          margin(round_up(call.radius_, lanes)),
          widest(round_up(call.tiling_.widest(), lanes)),
          pitch(widest * call.tiling_.images_together() + lanes),
          ring(call.slots_, widest * call.tiling_.images_together()),
          line(2 * margin + widest + lanes),
          sums(kRowsAtOnce * call.bins_.kinds * pitch),
          rows(kRowsAtOnce * call.plan_.longest()),
          ends(call.plan_.sums()),
          places(pitch / lanes),
          runs(call.radius_ + 1) {
      for (size_t v = 0; v < places.size(); ++v) places[v] = int64_t(v) * lanes;
    }

    void sum(int64_t item, double* products) {
      const Span some = call.tiling_.rows(item);
      images = call.tiling_.images(item);
      columns = call.tiling_.columns(item);
      padded = round_up(columns.size(), lanes);
      formed = std::max<int64_t>(0, some.begin + call.pad_ - call.radius_);
      std::fill_n(line.get(), 2 * margin + widest + lanes, T(0));
      for (int64_t y = some.begin; y < some.end; y += kRowsAtOnce) {
        const int64_t count = std::min(kRowsAtOnce, some.end - y);
        sum_discs(y, count);
        for (int64_t t = 0; t < count; ++t)
          for (int64_t n = 0; n < call.bins_.kinds; ++n)
            for (int64_t i = 0; i < images.size(); ++i)
              products[n] +=
                  finish(sums.get() + (t * call.bins_.kinds + n) * pitch + i * padded, images.begin + i, n, y + t);
      }
    }

    // Rows behind y + count are summed from whatever the ring holds, and nobody reads them.
    void sum_discs(int64_t y, int64_t count) {
      const RowPlan& plan = call.plan_;
      const int64_t height = call.bins_.height + 2 * call.pad_;
      const int64_t until = std::min(height, y + count + call.pad_ + call.radius_);
      for (; formed < until; ++formed)
        for (int64_t i = 0; i < images.size(); ++i) form_runs(formed, i);
      ring.template gather<kRowsAtOnce>(plan, y + call.pad_, height, rows.data(), ends.data(), [](int64_t, int64_t) {});
      const RowSums<T> job = {rows.data(), ends.data(), plan.sums(), sums.get(), pitch, call.bins_.kinds * pitch};
      kernels().of<E>().sum_rows(job, false, images.size() * padded / lanes, places.data(), look_ahead(y, count));
    }

    // The bins that the sums of these rows will meet.
    Ahead look_ahead(int64_t y, int64_t count) {
      ahead.clear();
      const bool read = call.bins_.column_stride == 1 && (call.noisy_or_ || call.weight_gradient_);
      for (int64_t t = 0; read && t < count; ++t)
        for (int64_t n = 0; n < call.bins_.kinds; ++n)
          for (int64_t i = images.begin; i < images.end; ++i)
            ahead.add(call.bins_.at(i, n, y + t, columns.begin), columns.size());
      return ahead.start();
    }

    // The runs of row y of image i of the gradient, at the columns of the bins.
    void form_runs(int64_t y, int64_t i) {
      const int64_t height = call.bins_.height + 2 * call.pad_, width = call.bins_.width + 2 * call.pad_;
      const int64_t start = columns.begin + call.pad_;
      const int64_t first = std::max<int64_t>(0, start - call.radius_);
      const int64_t last = std::min(width, columns.end + call.pad_ + call.radius_);
      const T* row = call.grad_ + ((images.begin + i) * height + y) * width;
      std::copy(row + first, row + last, line.get() + margin + first - start);
      for (int64_t h = 0; h <= call.radius_; ++h) runs[h] = ring.row(h, y) + i * padded;
      kernels().of<E>().runs(line.get() + margin, call.radius_, padded, runs.data());
    }

    double finish(const T* some, int64_t image, int64_t n, int64_t y) const {
      const Bins<E>& bins = call.bins_;
      const int64_t at = ((image * bins.kinds + n) * bins.height + y) * bins.width + columns.begin;
      constexpr int64_t beyond_caches = int64_t(16) << 20;
      const bool large = bins.images * bins.kinds * bins.height * bins.width * int64_t(sizeof(E)) > beyond_caches;
      return kernels().of<E>().finish(some, bins.at(image, n, y, columns.begin), bins.column_stride, columns.size(),
                                      call.weight_ ? call.weight_[n] : T(1), call.noisy_or_,
                                      call.weight_gradient_ != nullptr,
                                      call.bins_gradient_ ? call.bins_gradient_ + at : nullptr, large);
    }
  };

  const T* grad_;
  const Bins<E>& bins_;
  const T* weight_;
  const int64_t pad_;
  const bool noisy_or_;
  E* bins_gradient_;
  T* weight_gradient_;
  const int64_t radius_;
  const RowPlan plan_;
  const std::vector<int64_t> slots_;
  const Tiling tiling_;
};

}  // namespace cnnfast::discs
