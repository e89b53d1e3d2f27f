// The disc kernels of one instruction set.
#include "discs/discs_simd.inl"
#include "discs/maximum_simd.inl"
#include "discs/union_simd.inl"

template <typename E>
constexpr DiscKernels<E> disc_kernels() {
  using T = accumulate_t<E>;
  return {kLanes<T>, pack_bins<E>, sum_rows<T>, max_rows<T>, widen<T>, widen_max<T>, runs<T>, finish<E>};
}

template <typename L>
constexpr UnionKernels<L> union_kernels() {
  return {pack_labels<L>, reach<L>, paint<L>};
}
