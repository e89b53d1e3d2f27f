// The operators of the emulated kernels: the same schemas as those of cnnfast, in another namespace.
#include <torch/csrc/stable/library.h>
#include <torch/headeronly/util/Exception.h>

#include "cuda_emulation.h"

namespace {

// The order in which the threads of a block and the blocks of a grid run: 0 forward, 1 reverse, 2 random.
void set_order(int64_t order, int64_t seed) {
  STD_TORCH_CHECK(order >= 0 && order <= 2, "set_order: order must be 0, 1 or 2, got ", order);
  emu::order = static_cast<emu::Order>(order);
  emu::seed = static_cast<unsigned>(seed);
}

// The compute capability that kernels are compiled for, 80 for 8.0.
void set_architecture(int64_t architecture) { emu::architecture = int(architecture); }

}  // namespace

STABLE_TORCH_LIBRARY(cnnfast_emulated, m) {
#define CNNFAST_FAMILY_FILE(family) schemas.h
#include "families.h"
  m.def("set_order(int order, int seed) -> ()");
  m.def("set_architecture(int architecture) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(cnnfast_emulated, CompositeExplicitAutograd, m) {
  m.impl("set_order", TORCH_BOX(&set_order));
  m.impl("set_architecture", TORCH_BOX(&set_architecture));
}
