// Registers the schemas of all operators.
#include <torch/csrc/stable/library.h>

namespace {

// Whether products of float32 matrices may be rounded to TF32. Where Python is loaded, cnnfast/_precision.py answers
// with torch's setting instead, which the stable ABI does not reveal.
bool allows_tf32() { return false; }

}  // namespace

STABLE_TORCH_LIBRARY(cnnfast, m) {
  m.def("_allows_tf32() -> bool");
#define CNNFAST_FAMILY_FILE(family) schemas.h
#include "families.h"
}

STABLE_TORCH_LIBRARY_IMPL(cnnfast, CompositeExplicitAutograd, m) { m.impl("_allows_tf32", TORCH_BOX(&allows_tf32)); }
