// The epilogue kernels that an ahead-of-time library holds, by the name that cuda_ops/cuda_kernels.py asks for.
#include "epilogue_kernels.cuh"

#include "kernel_table.cuh"

#define ACT_KERNELS(T, V, SMOOTH)                              \
  GAN_LT_KERNEL((epilogue_forward<T, V, SMOOTH, false>))       \
  GAN_LT_KERNEL((epilogue_forward<T, V, SMOOTH, true>))        \
  GAN_LT_KERNEL((epilogue_gradient<T, V, SMOOTH, false>))      \
  GAN_LT_KERNEL((epilogue_gradient<T, V, SMOOTH, true>))
#define TYPE_KERNELS(T, V)      \
  ACT_KERNELS(T, V, false)      \
  ACT_KERNELS(T, V, true)       \
  GAN_LT_KERNEL((epilogue_second<T, V>))

GAN_LT_KERNEL_TABLE(gan_lt_epilogue_kernel, TYPE_KERNELS(float, 1) TYPE_KERNELS(float, 4) TYPE_KERNELS(double, 1)
                                                TYPE_KERNELS(BFloat16, 1) TYPE_KERNELS(BFloat16, 8)
                                                    TYPE_KERNELS(Half, 1) TYPE_KERNELS(Half, 8))
