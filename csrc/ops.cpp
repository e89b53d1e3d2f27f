// Registers every operator's schema with torch.
#include <torch/csrc/stable/library.h>

#include "schemas.h"

STABLE_TORCH_LIBRARY(cnnfast, m) {
  for (const char* schema : cnnfast::schemas::all) m.def(schema);
}
