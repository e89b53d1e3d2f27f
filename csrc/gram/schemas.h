// Gram matrices: N images, C channels, M = H * W pixels, R regions (1 without pixel weights).
// normalize: 0 divides by `divisor`, 1 by the sum of the pixel weights (M without), 2 by C times that.
// Matrices and pixel weights have the accumulation type: float64 for float64 features, else float32.

// x (N, C, M), weight (1 or N, R, M) -> (N, R, C, C)
m.def("gram(Tensor x, Tensor? weight, int normalize, float divisor, bool centered) -> Tensor");

// grad (N, R, C, C), x (N, C, M) -> (N, C, M): sum over r of (grad + grad^T)(x - mu) weight / Z
m.def("_gram_backward(Tensor grad, Tensor x, Tensor? weight, int normalize, float divisor, bool centered) -> Tensor");

// x (N, C, M), y (N, D, M) -> (N, R, C, D). normalize 2 divides by C, the channels of x
m.def("cross_gram(Tensor x, Tensor y, Tensor? weight, int normalize, float divisor, bool centered) -> Tensor");

// grad (N, R, C, D), y (N, D, M) -> (N, C, M): sum over r of grad (y - nu) weight / Z
m.def(
    "_cross_gram_backward(Tensor grad, Tensor y, Tensor? weight, int normalize, float divisor, bool centered) -> "
    "Tensor");

// x (N, C, M), target (1 or N, R, C, C) -> sum of squares of D = gram - target (N, R), and (D + D^T) / 2 (N, R, C, C)
m.def(
    "gram_mse(Tensor x, Tensor target, Tensor? weight, int normalize, float divisor, bool centered) -> (Tensor, "
    "Tensor)");

// grad (N, R), difference (N, R, C, C) = (D + D^T) / 2, x (N, C, M), target as above (only differentiated, not read)
// -> (N, C, M): sum over r of 4 grad difference (x - mu) weight / Z
m.def(
    "_gram_mse_backward(Tensor grad, Tensor difference, Tensor x, Tensor target, Tensor? weight, int normalize, "
    "float divisor, bool centered) -> Tensor");
