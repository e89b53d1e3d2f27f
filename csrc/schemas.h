// Every operator's schema.
//
// Gram matrices: N images, C channels, M = H * W pixels, R regions (1 without pixel weights).
// normalize: 0 divides by `divisor`, 1 by the sum of the pixel weights (M without), 2 by C times that.
// Matrices and pixel weights have the accumulation type: float64 for float64 features, else float32.
#pragma once

namespace cnnfast::schemas {

// x (N, C, M), weight (1 or N, R, M) -> (N, R, C, C)
inline constexpr const char* gram =
    "gram(Tensor x, Tensor? weight, int normalize, float divisor, bool centered) -> Tensor";

// grad (N, R, C, C), x (N, C, M) -> (N, C, M): sum over r of (grad + grad^T)(x - mu) weight / Z
inline constexpr const char* gram_backward =
    "_gram_backward(Tensor grad, Tensor x, Tensor? weight, int normalize, float divisor, bool centered) -> Tensor";

// x (N, C, M), y (N, D, M) -> (N, R, C, D). normalize 2 divides by C, the channels of x
inline constexpr const char* cross_gram =
    "cross_gram(Tensor x, Tensor y, Tensor? weight, int normalize, float divisor, bool centered) -> Tensor";

// grad (N, R, C, D), y (N, D, M) -> (N, C, M): sum over r of grad (y - nu) weight / Z
inline constexpr const char* cross_gram_backward =
    "_cross_gram_backward(Tensor grad, Tensor y, Tensor? weight, int normalize, float divisor, bool centered) -> "
    "Tensor";

// x (N, C, M), target (1 or N, R, C, C) -> sum of squares of D = gram - target (N, R), and (D + D^T) / 2 (N, R, C, C)
inline constexpr const char* gram_mse =
    "gram_mse(Tensor x, Tensor target, Tensor? weight, int normalize, float divisor, bool centered) -> (Tensor, "
    "Tensor)";

// grad (N, R), difference (N, R, C, C) = (D + D^T) / 2, x (N, C, M), target as above (only differentiated, not read)
// -> (N, C, M): sum over r of 4 grad difference (x - mu) weight / Z
inline constexpr const char* gram_mse_backward =
    "_gram_mse_backward(Tensor grad, Tensor difference, Tensor x, Tensor target, Tensor? weight, int normalize, "
    "float divisor, bool centered) -> Tensor";

// Distance transforms: P planes of H * W pixels, bool or integers. labels: a pixel's opponents are those of another
// value instead of those that are zero. border: one frame of background surrounds each plane.

// mask (P, H, W) -> (P, H, W). radius R (0: none), in units of the spacing. output 0: bins min(ceil(d), R), uint8;
// 1: distance min(d, R), float32; 2: squared distance, int32 with R and unit spacing, int64 without R, float32 with
// another spacing; 3: signed distance in [-R, R], float32. zero, for output 3: 0 edge, 1 half, 2 inner
inline constexpr const char* truncated_distance_transform =
    "truncated_distance_transform(Tensor mask, float radius, bool labels, float spacing_y, float spacing_x, "
    "bool border, int output, int zero) -> Tensor";

// mask (P, H, W) -> ceil(D K / R) with D = min(ceil(d), R) and K = bins: (P, H, W) uint8 for one_hot 0, else
// (P, K, H, W) of 1 uint8, 2 float16, 3 bfloat16, 4 float32, 5 float64
inline constexpr const char* mask_to_bins =
    "mask_to_bins(Tensor mask, int radius, SymInt bins, bool labels, bool border, int one_hot) -> Tensor";

// Discs: N images, K bins of radii rho_n, P = pad; T(rho) = the pixels at most rho away. w_n = 1 without weight. Sums,
// their gradients and weights have the accumulation type: float64 for float64 bins, else float32. Results are
// contiguous.

// bins (N, K, H, W), weight (K) -> (N, 1, H + 2 P, W + 2 P): sum over n of w_n times the sum of bins_n over T(rho_n).
// noisy_or: bins are b in [0, 1] and -log(1 - b) is summed, with b kept below 1
inline constexpr const char* disc_sum =
    "disc_sum(Tensor bins, int[] radii, Tensor? weight, SymInt pad, bool noisy_or) -> Tensor";

// grad (N, 1, H + 2 P, W + 2 P), bins (N, K, H, W) as above; with S_n = the sum of grad over T(rho_n):
// -> w_n S_n (N, K, H, W), noisy_or: times 1 / (1 - b); and, where weight_gradient, sum of bins_n S_n (K), else empty
inline constexpr const char* disc_sum_backward =
    "_disc_sum_backward(Tensor grad, Tensor bins, int[] radii, Tensor? weight, SymInt pad, bool noisy_or, "
    "bool bins_gradient, bool weight_gradient) -> (Tensor, Tensor)";

// bins (N, K, H, W) -> the largest bins_n over T(rho_n) and n (N, 1, H + 2 P, W + 2 P), and where it was found: the
// index into (K, H, W), -1 where no disc reaches (int64)
inline constexpr const char* disc_max = "disc_max(Tensor bins, int[] radii, SymInt pad) -> (Tensor, Tensor)";

// labels (N, H, W) uint8, 0 no disc, n a disc of radius rho_n -> union of the discs (N, H + 2 P, W + 2 P), bool
inline constexpr const char* disc_union = "disc_union(Tensor labels, int[] radii, SymInt pad) -> Tensor";

// A 3x3 convolution with stride 1: N images, H * W pixels, I and O channels, multiples of 32; p = padding, 0 to 2.
// Memory is channels_last, that of the result always.

// x (N, I, H, W), weight (O, I, 3, 3), bias (O) -> (N, O, H + 2 p - 2, W + 2 p - 2), float32. transposed: with the
// weights flipped and I and O exchanged, as in the gradient of such a convolution
inline constexpr const char* convolution3x3 =
    "_convolution3x3(Tensor x, Tensor weight, Tensor? bias, SymInt padding, bool transposed) -> Tensor";

// 2x2 pooling behind a ReLU, stride 2, a last odd row or column dropped: N images, H * W pixels, C channels, a multiple
// of 64; float32 or bfloat16. Memory is channels_last, that of the results always.

// x (N, C, H, W) -> the largest, or the mean, of four ReLUs (N, C, H / 2, W / 2), and what the gradient needs: bits of
// an order of their own (N, H / 2, W / 2, C), uint8
inline constexpr const char* relu_pool2x2 = "_relu_pool2x2(Tensor x, bool average) -> (Tensor, Tensor)";

// grad (N, C, H / 2, W / 2), bits as above -> the gradient of x (N, C, H, W)
inline constexpr const char* relu_pool2x2_backward =
    "_relu_pool2x2_backward(Tensor grad, Tensor bits, SymInt height, SymInt width, bool average) -> Tensor";

inline constexpr const char* all[] = {gram,
                                      gram_backward,
                                      cross_gram,
                                      cross_gram_backward,
                                      gram_mse,
                                      gram_mse_backward,
                                      truncated_distance_transform,
                                      mask_to_bins,
                                      disc_sum,
                                      disc_sum_backward,
                                      disc_max,
                                      disc_union,
                                      convolution3x3,
                                      relu_pool2x2,
                                      relu_pool2x2_backward};

}  // namespace cnnfast::schemas
