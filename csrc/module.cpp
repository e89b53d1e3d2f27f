// The Python module cnnfast._C: what was built and what this processor runs. Importing it registers the operators.
#include <pybind11/pybind11.h>

#include "core/capability.h"

#ifndef CNNFAST_VERSION
#error "build through setup.py, which passes the version and the build's facts"
#endif

// When the module does not load, cnnfast/_extension.py finds this text in its file and names the version.
[[gnu::used]] static const char build_record[] = "cnnfast built with torch " CNNFAST_BUILD_TORCH;

PYBIND11_MODULE(_C, m) {
  cnnfast::capability();  // an unknown CNNFAST_CPU_CAPABILITY must fail the import, not the first call
  m.def("cpu_capability", &cnnfast::cpu_capability);
  m.def("build_info", [] {
    pybind11::dict info;
    info["version"] = CNNFAST_VERSION;
    info["torch"] = CNNFAST_BUILD_TORCH;
    info["compiler"] = __VERSION__;
    info["cuda"] = CNNFAST_BUILD_CUDA;
    info["cuda_architectures"] = CNNFAST_BUILD_ARCHS;
    return info;
  });
}
