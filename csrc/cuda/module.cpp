// The Python module cnnfast._C_cuda: importing it registers the operators' CUDA kernels.
#include <Python.h>

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_C_cuda", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};

PyMODINIT_FUNC PyInit__C_cuda() { return PyModule_Create(&definition); }
