// Distance transforms: P planes of H * W pixels, bool or integers. The distance d of a foreground pixel is that to the
// nearest site. Sites are the pixels that are zero; with `labels`, the pixels of another value. border: one frame of
// background surrounds each plane.

// mask (P, H, W) -> (P, H, W). radius R (0: none), in units of the spacing. output 0: bins min(ceil(d), R), uint8;
// 1: distance min(d, R), float32; 2: squared distance, int32 with R and unit spacing, int64 without R, float32 with
// another spacing; 3: signed distance in [-R, R], float32. zero, for output 3: 0 edge, 1 half, 2 inner
m.def(
    "truncated_distance_transform(Tensor mask, float radius, bool labels, float spacing_y, float spacing_x, "
    "bool border, int output, int zero) -> Tensor");

// mask (P, H, W) -> ceil(D K / R) with D = min(ceil(d), R) and K = bins: (P, H, W) uint8 for one_hot 0, else
// (P, K, H, W) of 1 uint8, 2 float16, 3 bfloat16, 4 float32, 5 float64
m.def("mask_to_bins(Tensor mask, int radius, SymInt bins, bool labels, bool border, int one_hot) -> Tensor");
