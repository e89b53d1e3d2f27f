// The union of discs on the CPU: a generalised distance transform in squared radii, cut off where no disc reaches.
//
// A disc of radius rho leaves rho^2 + 1 - dy^2 for dx^2 in row y + dy. With the largest of these rests in every column,
// a pixel is in the union if the rest of any column exceeds dx^2, dx columns away.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/memory.h"
#include "core/parallel.h"
#include "discs/planes.h"
#include "discs/row_plan.h"
#include "discs/tiling.h"
#include "discs/window.h"

namespace cnnfast::discs {

template <typename L>
const UnionKernels<L>& union_kernels() {
  if constexpr (sizeof(L) == 1) {
    return kernels().union_bytes;
  } else if constexpr (sizeof(L) == 2) {
    return kernels().union_shorts;
  } else {
    return kernels().union_ints;
  }
}

// L: unsigned, holds the square of the largest radius plus 1.
template <typename L>
class DiscUnion {
 public:
  // output: (N, H + 2 pad, W + 2 pad) bytes, zero where no disc reaches
  DiscUnion(const Bins<uint8_t>& labels, const std::vector<int64_t>& radii, int64_t pad, uint8_t* output)
      : labels_(labels),
        pad_(pad),
        output_(output),
        reached_(radii, pad),
        kinds_(int64_t(radii.size())),
        margin_(reached_.radius + reached_.border),
        tiling_(labels.images, labels.height + 2 * reached_.border, labels.width + 2 * reached_.border, reached_.radius,
                0) {
    for (int64_t n = 0; n < kinds_; ++n) table_[n + 1] = L(radii[n] * radii[n] + 1);
  }

  void run() const {
    const int64_t pixels =
        labels_.images * (labels_.height + 2 * reached_.border) * (labels_.width + 2 * reached_.border);
    const int64_t workers = worker_count(tiling_.items(), pixels * (reached_.radius + 1) * int64_t(sizeof(L)) / 4);
    std::vector<std::unique_ptr<Worker>> states;
    for (int64_t w = 0; w < workers; ++w) states.push_back(std::make_unique<Worker>(*this));
    for_each_item(tiling_.items(), workers, [&](int64_t w, int64_t item, int64_t) { states[w]->paint(item); });
  }

 private:
  struct Worker {
    const DiscUnion& call;
    const int64_t image_pitch, pitch;  // an image's part of a row, margins included; a row of all of them
    RowRing<L> ring;
    Scratch<L> reach;
    Scratch<uint8_t> line;
    std::vector<const L*> rows;
    std::vector<L> drops;

    explicit Worker(const DiscUnion& call)
        : call(call),
          image_pitch(2 * call.margin_ + call.labels_.width),
          pitch(round_up(image_pitch * call.tiling_.images_together(), 64)),
          ring({2 * call.reached_.radius + 1}, pitch),
          reach(call.margin_ + pitch + call.margin_ + 64),
          line(pitch + 64),
          rows(2 * call.reached_.radius + 1),
          drops(2 * call.reached_.radius + 1) {
      for (int64_t y = 0; y < int64_t(rows.size()); ++y) std::fill_n(ring.row(0, y), pitch, L(0));
      std::fill_n(reach.get(), call.margin_ + pitch + call.margin_ + 64, L(0));
    }

    void paint(int64_t item) {
      const Bins<uint8_t>& labels = call.labels_;
      const int64_t border = call.reached_.border, outside = call.pad_ - border;
      const int64_t height = labels.height + 2 * call.pad_, width = labels.width + 2 * call.pad_;
      const Span images = call.tiling_.images(item), lines = call.tiling_.rows(item);
      int64_t packed = std::max<int64_t>(0, lines.begin - border - call.reached_.radius);
      for (int64_t y = lines.begin; y < lines.end; ++y) {
        pack(images, packed, y - border);
        fill_reach(y - border);
        for (int64_t i = 0; i < images.size(); ++i) {
          const int64_t columns = labels.width + 2 * border;
          const L* from = reach.get() + call.margin_ + i * image_pitch + call.margin_ - border;
          union_kernels<L>().paint(from, call.reached_.radius, columns, line.get());
          std::copy_n(line.get(), columns,
                      call.output_ + ((images.begin + i) * height + y + outside) * width + outside);
        }
      }
    }

    void pack(Span images, int64_t& packed, int64_t y) {
      const Bins<uint8_t>& labels = call.labels_;
      const int64_t until = std::min(labels.height, y + call.reached_.radius + 1);
      for (; packed < until; ++packed)
        for (int64_t i = 0; i < images.size(); ++i)
          union_kernels<L>().pack(labels.at(images.begin + i, 0, packed, 0), labels.column_stride, labels.width,
                                  call.table_, call.kinds_, ring.row(0, packed) + i * image_pitch + call.margin_);
    }

    void fill_reach(int64_t y) {
      const int64_t radius = call.reached_.radius;
      int64_t count = 0;
      for (int64_t dy = -radius; dy <= radius; ++dy) {
        if (y + dy < 0 || y + dy >= call.labels_.height) continue;
        rows[count] = ring.row(0, y + dy);
        drops[count++] = L(dy * dy);
      }
      union_kernels<L>().reach(rows.data(), drops.data(), count, pitch, reach.get() + call.margin_);
    }
  };

  const Bins<uint8_t>& labels_;
  const int64_t pad_;
  uint8_t* output_;
  const Reached reached_;
  const int64_t kinds_, margin_;
  const Tiling tiling_;
  L table_[256] = {};
};

}  // namespace cnnfast::discs
