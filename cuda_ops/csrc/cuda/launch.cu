// Launching a kernel found in a table, from Python through ctypes.
#include <cuda_runtime_api.h>

// Returns 0, or CUDA's error number. `arguments` is the kernel's one argument, a structure passed by value.
extern "C" __attribute__((visibility("default"))) int gan_lt_launch(const void* kernel, const unsigned* grid,
                                                                    const unsigned* block, unsigned shared,
                                                                    void* arguments, void* stream) {
  void* pointers[] = {arguments};
  return int(cudaLaunchKernel(kernel, dim3(grid[0], grid[1], grid[2]), dim3(block[0], block[1]), pointers, shared,
                              static_cast<cudaStream_t>(stream)));
}
