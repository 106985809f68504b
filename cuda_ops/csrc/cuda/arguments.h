// The CUDA kernels' arguments, passed by value; cuda_ops/cuda_launch.py holds the same structures.
#pragma once

// Of `parameters`, pointers may be null. Taps are read on the device: no call waits for it.
struct UpfirdnCuda {
  const void* x;
  void* y;
  const float* taps;  // [fh, fw], or [fw] for a separable filter
  long long planes, k;
  int in_h, in_w, out_h, out_w;
  int up_x, up_y, down_x, down_y, pad_x, pad_y;
  int fw, fh, separable, flip;
  double gain;
};

// [samples, pixels, channels] where channels_last, else [samples, channels, pixels].
struct EpilogueCuda {
  const void* x;   // input, or output where from_output
  const void* dy;  // gradients: of the output
  const void* ddx;
  void* y;         // forward: the output; gradients: dx; second: d_dy
  void* d_x;       // second
  const void* demod;
  const void* noise;
  const void* strength;
  const void* bias;
  const void* tangent;
  void* partial;  // [samples, parts, 3, channels]: sums of dz, dz * x, dz * noise
  long long samples, channels, pixels;
  int channels_last, noise_per_sample, act, from_output, parts;
  double alpha, gain, limit;
};
