// Registers every operator's schema with torch.
#include <torch/csrc/stable/library.h>

#include "schemas.h"

STABLE_TORCH_LIBRARY(cnnfast, m) {
  using namespace cnnfast;
  m.def(schemas::gram);
  m.def(schemas::gram_backward);
  m.def(schemas::cross_gram);
  m.def(schemas::cross_gram_backward);
  m.def(schemas::gram_mse);
  m.def(schemas::gram_mse_backward);
}
