// The upfirdn2d kernels that an ahead-of-time library holds, by the name that cuda_ops/cuda_kernels.py asks for.
#include "upfirdn2d_kernels.cuh"

#include "kernel_table.cuh"

#define ROWS_KERNELS(T, V, UP, DOWN)                   \
  GAN_LT_KERNEL((upfirdn2d_rows<T, V, UP, DOWN, 4, false, 4>)) \
  GAN_LT_KERNEL((upfirdn2d_rows<T, V, UP, DOWN, 12, true, 4>))
#define TYPE_KERNELS(T, V)  \
  ROWS_KERNELS(T, V, 1, 1)  \
  ROWS_KERNELS(T, V, 2, 1)  \
  ROWS_KERNELS(T, V, 1, 2)  \
  GAN_LT_KERNEL((upfirdn2d_any<T, V>))

GAN_LT_KERNEL_TABLE(gan_lt_upfirdn2d_kernel, TYPE_KERNELS(float, 1) TYPE_KERNELS(float, 4) TYPE_KERNELS(double, 1)
                                                 TYPE_KERNELS(BFloat16, 1) TYPE_KERNELS(BFloat16, 4)
                                                     TYPE_KERNELS(Half, 1) TYPE_KERNELS(Half, 4))
