// Asynchronous copies and tensor cores, as the emulation has them; included by cuda_emulation.h.
#pragma once

namespace emu {

// Destroys the 16 bytes at once; the new ones arrive with wait_for_copies.
inline void copy_async(void* to, const void* from, int bytes) {
  Thread& t = *current->self;
  if (bytes < 0 || bytes > 16) fail("an asynchronous copy of more or less than 16 bytes");
  if (reinterpret_cast<uintptr_t>(to) % 16 || reinterpret_cast<uintptr_t>(from) % 16)
    fail("the address of an asynchronous copy is not a multiple of 16");
  std::memset(to, 0xff, 16);
  t.copies.push_back({to, from, unsigned(bytes), t.groups});
}

inline void commit_copies() { ++current->self->groups; }

// Completes the copies of all but the `pending` latest groups.
inline void wait_for_copies(unsigned pending) {
  Thread& t = *current->self;
  std::erase_if(t.copies, [&](const Copy& copy) {
    if (copy.group + pending >= t.groups) return false;
    std::memset(copy.to, 0, 16);
    std::memcpy(copy.to, copy.from, copy.bytes);
    return true;
  });
}

template <bool transposed>
void load_matrices(const void* row, uint32_t (&words)[4]) {
  if (reinterpret_cast<uintptr_t>(row) % 16) fail("the address of a matrix's row is not a multiple of 16");
  const unsigned lane = current->self->lane;
  const Shown* rows = exchange(0xffffffffu, row);
  for (unsigned i = 0; i < 4; ++i) {
    const auto part = [&](unsigned r) { return read<const unsigned char*>(rows, 8 * i + r); };
    if (!transposed) {
      std::memcpy(&words[i], part(lane / 4) + lane % 4 * 4, 4);
    } else {
      unsigned char bytes[4];
      for (unsigned e = 0; e < 2; ++e) std::memcpy(bytes + 2 * e, part(lane % 4 * 2 + e) + lane / 4 * 2, 2);
      std::memcpy(&words[i], bytes, 4);
    }
  }
}

// To nearest, ties away from zero.
inline uint32_t tf32_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if ((bits & 0x7f800000u) == 0x7f800000u) return bits;
  return (bits + 0x1000u) & ~0x1fffu;
}

// sum + products as an A100 adds them: every term truncated to multiples of 2^-24 of the power of two of the largest
// one, their sum truncated to float32. Newer GPUs truncate less. Fasi, Higham, Mikaitis, Pranesh, Numerical behavior of
// NVIDIA tensor cores, PeerJ Computer Science 7, 2021; Khattak, Mikaitis, Accurate Models of NVIDIA Tensor Cores, 2025.
template <int count>
float add_products(float sum, const double (&products)[count]) {
  double largest = std::fabs(sum), total = sum;
  for (double product : products) largest = std::max(largest, std::fabs(product)), total += product;
  if (!(total - total == 0) || largest == 0) return float(total);
  uint64_t bits;
  std::memcpy(&bits, &largest, 8);
  const double unit = std::ldexp(1.0, std::max(int(bits >> 52) - 1023, -126) - 24), scale = 1 / unit;
  int64_t units = int64_t(sum * scale);
  for (double product : products) units += int64_t(product * scale);
  total = double(units) * unit;
  const float rounded = float(total);
  return std::fabs(rounded) > std::fabs(total) ? std::nextafterf(rounded, 0.0f) : rounded;
}

// The elements in a register: two halves, or one float32, whose last 13 bits tensor cores ignore.
template <typename E>
struct Element {
  static constexpr unsigned per_word = 2;
  static float value(uint32_t word, unsigned i) {
    const uint16_t bits = uint16_t(word >> 16 * i);
    E element;
    std::memcpy(&element, &bits, 2);
    return float(element);
  }
};
template <>
struct Element<float> {
  static constexpr unsigned per_word = 1;
  static float value(uint32_t word, unsigned) {
    word &= ~0x1fffu;
    float element;
    std::memcpy(&element, &word, 4);
    return element;
  }
};

template <typename E>
void multiply_matrices(const uint32_t (&a)[4], uint32_t b0, uint32_t b1, float (&sums)[4]) {
  constexpr unsigned per_word = Element<E>::per_word;
  struct Elements {
    float a[4][per_word], b[2][per_word];
  } mine;
  for (unsigned i = 0; i < per_word; ++i) {
    for (unsigned word = 0; word < 4; ++word) mine.a[word][i] = Element<E>::value(a[word], i);
    mine.b[0][i] = Element<E>::value(b0, i), mine.b[1][i] = Element<E>::value(b1, i);
  }
  const unsigned lane = current->self->lane;
  const Shown* shown = exchange(0xffffffffu, mine);
  for (unsigned s = 0; s < 4; ++s) {
    const unsigned row = lane / 4, column = lane % 4 * 2 + s % 2;
    for (unsigned step = 0; step < 2; ++step) {  // half of the depth
      double products[4 * per_word];
      for (unsigned t = 0; t < 4; ++t) {
        const auto* left = reinterpret_cast<const Elements*>(shown[4 * row + t].bytes);
        const auto* right = reinterpret_cast<const Elements*>(shown[4 * column + t].bytes);
        for (unsigned i = 0; i < per_word; ++i)
          products[t * per_word + i] = double(left->a[s / 2 + 2 * step][i]) * right->b[step][i];
      }
      sums[s] = add_products(sums[s], products);
    }
  }
}

}  // namespace emu
