// Discs: N images, K bins of radii rho_n, P = pad; T(rho) = the pixels at most rho away. w_n = 1 without weight. Sums,
// their gradients and weights have the accumulation type: float64 for float64 bins, else float32. Results are
// contiguous.

// bins (N, K, H, W), weight (K) -> (N, 1, H + 2 P, W + 2 P): sum over n of w_n times the sum of bins_n over T(rho_n).
// noisy_or: bins are b in [0, 1] and -log(1 - b) is summed, with b kept below 1
m.def("disc_sum(Tensor bins, int[] radii, Tensor? weight, SymInt pad, bool noisy_or) -> Tensor");

// grad (N, 1, H + 2 P, W + 2 P), bins (N, K, H, W) as above; with S_n = the sum of grad over T(rho_n):
// -> w_n S_n (N, K, H, W), noisy_or: times 1 / (1 - b); and, where weight_gradient, sum of bins_n S_n (K), else empty
m.def(
    "_disc_sum_backward(Tensor grad, Tensor bins, int[] radii, Tensor? weight, SymInt pad, bool noisy_or, "
    "bool bins_gradient, bool weight_gradient) -> (Tensor, Tensor)");

// bins (N, K, H, W) -> the largest bins_n over T(rho_n) and n (N, 1, H + 2 P, W + 2 P), and where it was found: the
// index into (K, H, W), -1 where no disc reaches (int64)
m.def("disc_max(Tensor bins, int[] radii, SymInt pad) -> (Tensor, Tensor)");

// labels (N, H, W) uint8, 0 no disc, n a disc of radius rho_n -> union of the discs (N, H + 2 P, W + 2 P), bool. A
// label without a radius is an error on the CPU and no disc on CUDA, where to look at it the processor would have to
// wait
m.def("disc_union(Tensor labels, int[] radii, SymInt pad) -> Tensor");
