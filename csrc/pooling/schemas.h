// 2x2 pooling behind a ReLU, stride 2, a last odd row or column dropped: N images, H * W pixels, C channels, a multiple
// of 64; float32 or bfloat16. x and grad are copied unless they are channels_last; the results are channels_last.

// x (N, C, H, W) -> the largest, or the mean, of four ReLUs (N, C, H / 2, W / 2), and for the gradient
// (N, H / 2, W / 2, C) uint8: four bits a value, in the order of channels that pooling/table.h describes
m.def("_relu_pool2x2(Tensor x, bool average) -> (Tensor, Tensor)");

// grad (N, C, H / 2, W / 2), bits as above -> the gradient of x (N, C, H, W)
m.def("_relu_pool2x2_backward(Tensor grad, Tensor bits, SymInt height, SymInt width, bool average) -> Tensor");
