// Runs CUDA kernels on the host: one block after another, one fiber per thread.
#pragma once
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define EMU_ASAN 1
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#define EMU_UCONTEXT 1
#endif

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define warpSize 32

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
using cudaStream_t = void*;

namespace emu {

enum class Order { forward, reverse, random };
inline Order order = Order::forward;
inline unsigned seed = 0;
inline int architecture = 80;  // the compute capability that kernels are compiled for, 80 for 8.0

constexpr size_t kStackBytes = 256 * 1024;

struct Context {
#ifdef EMU_UCONTEXT
  ucontext_t uc;
#else
  void* sp = nullptr;
#endif
};

#ifndef EMU_UCONTEXT
extern "C" void emu_switch(void** save_sp, void* load_sp);
__asm__(R"(
.text
.weak emu_switch
.hidden emu_switch
.type emu_switch,@function
emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emu_switch,.-emu_switch
)");
#endif

// A value that a lane publishes to its warp.
struct Shown {
  alignas(8) unsigned char bytes[48];
};

// Exchange area of the lanes of one mask. Two slots alternate, so a lane that runs ahead cannot overwrite values that
// slower lanes have yet to read.
struct Group {
  Shown value[2][32];
  uint32_t arrived[2] = {0, 0};
  uint32_t left[2] = {0, 0};
  uint32_t parity = 0;  // the slot that each lane uses next
};
struct Warp {
  std::map<uint32_t, Group> groups;
  uint32_t live = 0;
};

enum class State { ready, at_block_barrier, at_warp_barrier, done };

// 16 bytes on their way from global to shared memory.
struct Copy {
  void* to;
  const void* from;
  unsigned bytes, group;
};

struct Thread {
  Context context;
  void* stack = nullptr;
  dim3 index;
  unsigned lane = 0;
  unsigned collectives = 0;
  Warp* warp = nullptr;
  State state = State::ready;
  void* asan = nullptr;
  std::vector<Copy> copies;
  unsigned groups = 0;  // of copies, committed so far
};

struct Block {
  dim3 index, dim, grid;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::unique_ptr<unsigned char[]> dynamic;
  std::map<const void*, std::unique_ptr<unsigned char[]>> shared;
  const std::function<void()>* body = nullptr;
  Context main;
  const void* main_stack = nullptr;
  size_t main_stack_bytes = 0;
  void* main_asan = nullptr;
  Thread* self = nullptr;
  unsigned live = 0, waiting = 0;
  int all = 1, any = 0, count = 0, last_all = 1, last_any = 0, last_count = 0;
  std::exception_ptr error;
  std::mt19937 rng;
};
inline Block* current = nullptr;

inline void switch_context(Context& from, Context& to, [[maybe_unused]] void** asan_save,
                           [[maybe_unused]] const void* stack, [[maybe_unused]] size_t bytes) {
#ifdef EMU_ASAN
  __sanitizer_start_switch_fiber(asan_save, stack, bytes);
#endif
#ifdef EMU_UCONTEXT
  swapcontext(&from.uc, &to.uc);
#else
  emu_switch(&from.sp, to.sp);
#endif
#ifdef EMU_ASAN
  __sanitizer_finish_switch_fiber(asan_save ? *asan_save : nullptr, nullptr, nullptr);
#endif
}
inline void yield(bool last = false) {
  Block& b = *current;
  Thread& t = *b.self;
  switch_context(t.context, b.main, last ? nullptr : &t.asan, b.main_stack, b.main_stack_bytes);
}
inline void resume(Thread& t) {
  Block& b = *current;
  b.self = &t;
  switch_context(b.main, t.context, &b.main_asan, t.stack, kStackBytes);
}

[[noreturn]] inline void fail(const std::string& what) {
  const Block& b = *current;
  const Thread& t = *b.self;
  auto show = [](dim3 d) { return std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z); };
  throw std::runtime_error("CUDA emulation: " + what + " (block " + show(b.index) + ", thread " + show(t.index) + ")");
}

inline void entry() {
  Block& b = *current;
#ifdef EMU_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &b.main_stack, &b.main_stack_bytes);
#endif
  try {
    (*b.body)();
  } catch (...) {
    if (!b.error) b.error = std::current_exception();
  }
  Thread& t = *b.self;
  t.state = State::done;
  t.warp->live &= ~(1u << t.lane);
  --b.live;
  yield(true);
  __builtin_unreachable();
}

inline void prepare(Thread& t) {
#ifdef EMU_ASAN
  __asan_unpoison_memory_region(t.stack, kStackBytes);  // frames of an earlier block never unwound
#endif
#ifdef EMU_UCONTEXT
  getcontext(&t.context.uc);
  t.context.uc.uc_stack.ss_sp = t.stack;
  t.context.uc.uc_stack.ss_size = kStackBytes;
  t.context.uc.uc_link = nullptr;
  makecontext(&t.context.uc, &entry, 0);
#else
  auto* top = reinterpret_cast<void**>(static_cast<char*>(t.stack) + kStackBytes);
  *--top = nullptr;                              // keeps the stack aligned at entry
  *--top = reinterpret_cast<void*>(&entry);      // where the first switch returns to
  for (int i = 0; i < 6; ++i) *--top = nullptr;  // callee-saved registers
  t.context.sp = top;
#endif
}

inline void block_barrier(int predicate = 0) {
  Block& b = *current;
  b.all &= predicate != 0;
  b.any |= predicate != 0;
  b.count += predicate != 0;
  ++b.waiting;
  b.self->state = State::at_block_barrier;
  yield();
}

// Publishes one value per lane of `mask` and returns the exchange area once all are there.
template <typename T>
const Shown* exchange(uint32_t mask, T value) {
  static_assert(sizeof(T) <= sizeof(Shown));
  Thread& t = *current->self;
  Warp& w = *t.warp;
  if (!(mask >> t.lane & 1)) fail("a lane calls a warp operation whose mask lacks it");
  Group& g = w.groups[mask];
  const unsigned slot = g.parity >> t.lane & 1;
  g.parity ^= 1u << t.lane;
  ++t.collectives;
  std::memcpy(g.value[slot][t.lane].bytes, &value, sizeof(T));
  g.arrived[slot] |= 1u << t.lane;
  while (g.arrived[slot] != mask) {
    if (mask & ~g.arrived[slot] & ~w.live) fail("a lane of the mask has left the kernel");
    t.state = State::at_warp_barrier;
    yield();
  }
  g.left[slot] |= 1u << t.lane;
  if (g.left[slot] == mask) g.arrived[slot] = g.left[slot] = 0;
  return g.value[slot];
}
template <typename T>
T read(const Shown* values, unsigned lane) {
  T v;
  std::memcpy(&v, values[lane].bytes, sizeof(T));
  return v;
}

inline void run_block(Block& b) {
  current = &b;
  const unsigned n = b.threads.size();
  b.live = n;
  b.waiting = 0;
  for (auto& w : b.warps) w = Warp{};
  std::vector<Thread*> schedule(n);
  for (unsigned i = 0; i < n; ++i) {
    Thread& t = b.threads[i];
    t.index = dim3(i % b.dim.x, i / b.dim.x % b.dim.y, i / (b.dim.x * b.dim.y));
    t.lane = i % 32;
    t.warp = &b.warps[i / 32];
    t.warp->live |= 1u << t.lane;
    t.state = State::ready;
    t.collectives = 0;
    t.copies.clear();
    prepare(t);
    schedule[order == Order::reverse ? n - 1 - i : i] = &t;
  }
  while (b.live && !b.error) {
    if (order == Order::random) std::shuffle(schedule.begin(), schedule.end(), b.rng);
    bool progress = false;
    for (Thread* t : schedule) {
      if (t->state != State::ready && t->state != State::at_warp_barrier) continue;
      const bool waited = t->state == State::at_warp_barrier;
      const unsigned before = t->collectives;
      t->state = State::ready;
      resume(*t);
      progress |= !(waited && t->state == State::at_warp_barrier && t->collectives == before);
    }
    if (b.live && b.waiting == b.live) {
      b.last_all = b.all, b.last_any = b.any, b.last_count = b.count;
      b.all = 1, b.any = 0, b.count = 0, b.waiting = 0;
      for (auto& t : b.threads)
        if (t.state == State::at_block_barrier) t.state = State::ready;
      progress = true;
    }
    if (!progress && !b.error)
      b.error = std::make_exception_ptr(
          std::runtime_error("CUDA emulation: deadlock, some threads wait at a barrier that others never reach"));
  }
  current = nullptr;
  if (b.error) std::rethrow_exception(b.error);
}

template <typename... P, typename... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, A&&... args) {
  const unsigned n = block.x * block.y * block.z;
  if (n == 0 || n > 1024 || !grid.x || !grid.y || !grid.z || grid.y > 65535 || grid.z > 65535 ||
      shared_bytes > 227 * 1024)
    throw std::runtime_error("CUDA emulation: invalid configuration argument");
  static std::vector<void*> stacks;
  while (stacks.size() < n) {
    void* p = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    stacks.push_back(p);
  }
  Block b;
  b.dim = block;
  b.grid = grid;
  b.rng.seed(seed);
  b.threads.resize(n);
  b.warps.resize((n + 31) / 32);
  for (unsigned i = 0; i < n; ++i) b.threads[i].stack = stacks[i];
  const std::function<void()> body = [&] { kernel(static_cast<P>(args)...); };
  b.body = &body;
  const uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
  for (uint64_t k = 0; k < blocks; ++k) {
    const uint64_t i = order == Order::reverse ? blocks - 1 - k : k;
    b.index = dim3(i % grid.x, i / grid.x % grid.y, i / (uint64_t(grid.x) * grid.y));
    b.shared.clear();
    b.dynamic.reset(new unsigned char[shared_bytes + 1]);
    std::memset(b.dynamic.get(), 0xff, shared_bytes);
    run_block(b);
  }
}

template <typename T>
T& shared(const void* tag) {
  auto& p = current->shared[tag];
  if (!p) {
    p.reset(new unsigned char[sizeof(T)]);
    std::memset(p.get(), 0xff, sizeof(T));  // reads before writes show up as NaN
  }
  return *reinterpret_cast<T*>(p.get());
}
}  // namespace emu

#include "cuda_intrinsics.h"
#include "tensor_core_emulation.h"
