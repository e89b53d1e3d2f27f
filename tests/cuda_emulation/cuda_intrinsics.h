// CUDA's built-in variables and functions, as the emulation has them; included by cuda_emulation.h.
#pragma once

#define threadIdx (emu::current->self->index)
#define blockIdx (emu::current->index)
#define blockDim (emu::current->dim)
#define gridDim (emu::current->grid)
#define CNNFAST_SHARED(type, name, ...)   \
  typedef type name##_shared __VA_ARGS__; \
  static char name##_tag;                 \
  auto& name = emu::shared<name##_shared>(&name##_tag)
#define CNNFAST_DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(emu::current->dynamic.get())

inline void __syncthreads() { emu::block_barrier(); }
inline int __syncthreads_and(int p) { return emu::block_barrier(p), emu::current->last_all; }
inline int __syncthreads_or(int p) { return emu::block_barrier(p), emu::current->last_any; }
inline int __syncthreads_count(int p) { return emu::block_barrier(p), emu::current->last_count; }
inline void __syncwarp(uint32_t mask = 0xffffffffu) { emu::exchange(mask, 0); }
inline uint32_t __ballot_sync(uint32_t mask, int p) {
  const emu::Shown* v = emu::exchange(mask, p);
  uint32_t bits = 0;
  for (unsigned i = 0; i < 32; ++i)
    if (mask >> i & 1) bits |= uint32_t(emu::read<int>(v, i) != 0) << i;
  return bits;
}
inline int __any_sync(uint32_t mask, int p) { return __ballot_sync(mask, p) != 0; }
inline int __all_sync(uint32_t mask, int p) { return __ballot_sync(mask, p) == mask; }
template <typename T>
T __shfl_sync(uint32_t mask, T v, int source, int width = 32) {
  const unsigned lane = emu::current->self->lane;
  return emu::read<T>(emu::exchange(mask, v), (lane & ~(width - 1)) | (source & (width - 1)));
}
template <typename T>
T __shfl_xor_sync(uint32_t mask, T v, int bits, int width = 32) {
  const unsigned lane = emu::current->self->lane, from = lane ^ bits;
  const emu::Shown* values = emu::exchange(mask, v);
  return (from & ~(width - 1)) > (lane & ~(width - 1)) ? v : emu::read<T>(values, from);
}
template <typename T>
T __shfl_down_sync(uint32_t mask, T v, unsigned delta, int width = 32) {
  const unsigned lane = emu::current->self->lane;
  const emu::Shown* values = emu::exchange(mask, v);
  return (lane & (width - 1)) + delta >= unsigned(width) ? v : emu::read<T>(values, lane + delta);
}
template <typename T>
T __shfl_up_sync(uint32_t mask, T v, unsigned delta, int width = 32) {
  const unsigned lane = emu::current->self->lane;
  const emu::Shown* values = emu::exchange(mask, v);
  return (lane & (width - 1)) < delta ? v : emu::read<T>(values, lane - delta);
}
template <typename T>
T atomicAdd(T* p, T v) {
  T old = *p;
  *p = T(old + v);
  return old;
}
template <typename T>
T atomicMax(T* p, T v) {
  T old = *p;
  *p = std::max(old, v);
  return old;
}
template <typename T>
T __ldg(const T* p) {
  return *p;
}
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline uint32_t __float_as_uint(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline float __uint_as_float(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
