// Runs a kernel's grid block after block, a block's threads as fibers in turn.
#include "cuda_on_host.h"

#include <vector>

#include "../../cuda_ops/csrc/cuda/arguments.h"
#include "../../cuda_ops/csrc/cuda/numbers.cuh"

Dim3 blockIdx, threadIdx, blockDim, gridDim;
double shared_memory[1 << 14];

float read(Half v) {
  _Float16 h;
  memcpy(&h, &v.bits, 2);
  return float(h);
}
void write(Half& p, float v) {
  const _Float16 h = _Float16(v);
  memcpy(&p.bits, &h, 2);
}

static const void* kernel;
static const void* argument;
static bool is_upfirdn2d;
static ucontext_t scheduler, fibers[1024];
static bool finished[1024];
static int current;

void __syncthreads() { swapcontext(&fibers[current], &scheduler); }

static void run_thread() {
  if (is_upfirdn2d)
    reinterpret_cast<void (*)(UpfirdnCuda)>(const_cast<void*>(kernel))(*static_cast<const UpfirdnCuda*>(argument));
  else
    reinterpret_cast<void (*)(EpilogueCuda)>(const_cast<void*>(kernel))(*static_cast<const EpilogueCuda*>(argument));
  finished[current] = true;
}

static void run_block() {
  static std::vector<char> stacks(1024 * 65536);
  const int threads = int(blockDim.x * blockDim.y);
  for (int t = 0; t < threads; t++) {
    getcontext(&fibers[t]);
    fibers[t].uc_stack.ss_sp = stacks.data() + t * 65536;
    fibers[t].uc_stack.ss_size = 65536;
    fibers[t].uc_link = &scheduler;
    makecontext(&fibers[t], run_thread, 0);
    finished[t] = false;
  }
  for (bool any = true; any;) {
    any = false;
    for (current = 0; current < threads; current++) {
      if (finished[current]) continue;
      threadIdx = {unsigned(current) % blockDim.x, unsigned(current) / blockDim.x, 0};
      swapcontext(&scheduler, &fibers[current]);
      any = any || !finished[current];
    }
  }
}

extern "C" void emulate(const void* function, const unsigned* grid, const unsigned* block, const void* arguments,
                        int upfirdn2d) {
  kernel = function;
  argument = arguments;
  is_upfirdn2d = upfirdn2d != 0;
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], 1};
  for (unsigned z = 0; z < grid[2]; z++)
    for (unsigned y = 0; y < grid[1]; y++)
      for (unsigned x = 0; x < grid[0]; x++) {
        blockIdx = {x, y, z};
        run_block();
      }
}
