// The disc kernels of one instruction set.
#include "discs/maximum_simd.inl"
#include "discs/sum_simd.inl"
#include "discs/union_simd.inl"

namespace cnnfast::discs {
namespace {

template <typename E, typename T = accumulate_t<E>>
constexpr ElementKernels<E> element_kernels = {kLanes<T>, pack_bins<E>, sum_rows<T>, max_rows<T>,
                                               widen<T>,  widen_max<T>, runs<T>,     finish<E>};

template <typename L>
constexpr UnionKernels<L> union_kernels = {pack_labels<L>, reach<L>, paint<L>};

}  // namespace

const Kernels CNNFAST_TABLE = {
    {element_kernels<float>, element_kernels<double>, element_kernels<half_bits>, element_kernels<bfloat16_bits>},
    union_kernels<uint8_t>,
    union_kernels<uint16_t>,
    union_kernels<uint32_t>};

}  // namespace cnnfast::discs
