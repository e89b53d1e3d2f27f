// The maximum over discs on the CPU, and where it was found.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "core/memory.h"
#include "core/parallel.h"
#include "discs/window.h"

namespace cnnfast::discs {

template <typename E>
class DiscMaximum {
 public:
  using T = accumulate_t<E>;
  using Code = typename Lane<T>::code;

  // output, found: (N, 1, H + 2 pad, W + 2 pad), 0 and -1 where no disc reaches
  DiscMaximum(const Bins<E>& bins, const std::vector<int64_t>& radii, int64_t pad, E* output, int64_t* found)
      : bins_(bins),
        radii_(radii),
        pad_(pad),
        output_(output),
        found_(found),
        reached_(radii, pad),
        plan_(plan_classes(radii)),
        tiling_(bins.images, bins.height + 2 * reached_.border, bins.width + 2 * reached_.border, reached_.radius,
                Window<E>::rows_kept(radii)) {}

  void run() const {
    const int64_t pixels = bins_.images * (bins_.height + 2 * reached_.border) * (bins_.width + 2 * reached_.border);
    const int64_t workers = worker_count(tiling_.items(), 3 * pixels * (plan_.longest() + 2 * reached_.radius));
    std::vector<std::unique_ptr<Worker>> states;
    for (int64_t w = 0; w < workers; ++w) states.push_back(std::make_unique<Worker>(*this));
    for_each_item(tiling_.items(), workers, [&](int64_t w, int64_t item, int64_t) { states[w]->find(item); });
  }

 private:
  static constexpr T kNothing = -std::numeric_limits<T>::infinity();

  struct Worker {
    const DiscMaximum& call;
    Window<E> window;
    const int64_t plane;
    Scratch<T> maxima, line;
    Scratch<Code> codes, line_codes, steps;
    std::vector<const T*> rows;
    std::vector<Code> row_codes;
    std::vector<int64_t> ends;
    int64_t padded = 0;

    explicit Worker(const DiscMaximum& call)
        : call(call),
          window(call.bins_, call.radii_, call.reached_, call.tiling_),
          plane(call.plan_.sums() * window.pitch()),
          maxima(plane),
          line(window.pitch()),
          codes(plane),
          line_codes(window.pitch()),
          steps(window.pitch()),
          rows(call.plan_.longest()),
          row_codes(call.plan_.longest()),
          ends(call.plan_.sums()) {}

    void find(int64_t item) {
      const Span images = call.tiling_.images(item), lines = call.tiling_.rows(item);
      const Span columns = call.tiling_.columns(item);
      window.begin(images, lines, columns);
      if (window.padded() != padded) {  // margins stay so from here on
        std::fill_n(maxima.get(), plane, kNothing);
        std::fill_n(codes.get(), plane, Code(-1));
        padded = window.padded();
      }
      for (int64_t y = lines.begin; y < lines.end; ++y) {
        find_classes(y - call.reached_.border);
        for (int64_t i = 0; i < images.size(); ++i) {
          const int64_t place = window.result_place(i);
          kernels().of<E>().widen_max(maxima.get() + place, codes.get() + place, window.pitch(), call.reached_.radius,
                                      columns.size(), line.get(), line_codes.get(), steps.get());
          put(images.begin + i, y, columns);
        }
      }
    }

    void find_classes(int64_t y) {
      const RowPlan& plan = call.plan_;
      window.pack(y, nullptr, false, kNothing);
      window.ring().template gather<1>(plan, y, call.bins_.height, rows.data(), ends.data(),
                                       [&](int64_t i, int64_t entry) { row_codes[i] = Code(entry); });
      const int64_t last = plane - window.pitch();
      const RowMaxima<T> job = {rows.data(),         row_codes.data(),   ends.data(),    plan.sums(),
                                maxima.get() + last, codes.get() + last, -window.pitch()};
      kernels().of<E>().max_rows(job, window.vectors(), window.places());
    }

    void put(int64_t image, int64_t y, Span columns) const {
      const int64_t outside = call.pad_ - call.reached_.border, border = call.reached_.border;
      const Bins<E>& bins = call.bins_;
      const int64_t width = bins.width + 2 * call.pad_, height = bins.height + 2 * call.pad_;
      const int64_t at = (image * height + y + outside) * width + columns.begin + outside;
      for (int64_t x = 0; x < columns.size(); ++x) {
        const bool any = line_codes[x] >= 0;
        E value{};
        int64_t index = -1;
        if (any) {
          const RowEntry entry = call.plan_.entries[line_codes[x]];
          const int64_t from_y = y - border + entry.dy, from_x = columns.begin + x - border + steps[x];
          value = *bins.at(image, entry.source, from_y, from_x);
          index = (entry.source * bins.height + from_y) * bins.width + from_x;
        }
        call.output_[at + x] = value;
        call.found_[at + x] = index;
      }
    }
  };

  const Bins<E>& bins_;
  const std::vector<int64_t>& radii_;
  const int64_t pad_;
  E* output_;
  int64_t* found_;
  const Reached reached_;
  const RowPlan plan_;
  const Tiling tiling_;
};

}  // namespace cnnfast::discs
