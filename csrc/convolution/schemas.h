// A 3x3 convolution with stride 1: N images, H * W pixels, I and O channels, multiples of 32; p = padding, 0 to 2.
// x and weight are copied unless they are channels_last; the result is channels_last.

// x (N, I, H, W), weight (O, I, 3, 3), bias (O) -> (N, O, H + 2 p - 2, W + 2 p - 2), float32. transposed: with the
// weights flipped and I and O exchanged, as in the gradient of such a convolution
m.def("_convolution3x3(Tensor x, Tensor weight, Tensor? bias, SymInt padding, bool transposed) -> Tensor");
