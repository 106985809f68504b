// Separable resizing of 8-bit planes to float by given filter rows: what antialiased image resizing is.
#include "memory.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// Output rows that go through the horizontal pass together, side by side: its taps then need no gather.
static constexpr int64_t kRows = 8;

// kRows neighbouring output rows [kRows, width], side by side: [width, kRows].
static void side_by_side(const float* rows, int64_t width, float* out) {
  for (int64_t x = 0; x < width; x++)
    for (int64_t r = 0; r < kRows; r++) out[x * kRows + r] = rows[r * width + x];
}

// One output row before the horizontal pass: `taps` input rows, weighted.
static void weigh_rows(const float* __restrict from, const float* weights, int64_t taps, int64_t width,
                       float* __restrict sum) {
  for (int64_t x = 0; x < width; x++) sum[x] = weights[0] * from[x];
  int64_t t = 1;
  for (; t + 1 < taps; t += 2) {
    const float a = weights[t], b = weights[t + 1];
    const float *next = from + t * width, *after = next + width;
    for (int64_t x = 0; x < width; x++) sum[x] += a * next[x] + b * after[x];
  }
  for (; t < taps; t++)
    for (int64_t x = 0; x < width; x++) sum[x] += weights[t] * from[t * width + x];
}

typedef float Lanes __attribute__((vector_size(kRows * sizeof(float))));

void resize_planes(const ResizeArgs& a) {
  const int64_t in = a.in, out = a.out, taps = a.taps;
  parallel(a.parallel, a.planes, 1, [&](int64_t begin, int64_t end) {
    const Memory<float> plane(in * in), rows(in * kRows), wide(in * kRows), narrow(out * kRows);
    for (int64_t p = begin; p < end; p++) {
      const uint8_t* source = a.x + p * in * in;
      for (int64_t i = 0; i < in * in; i++) plane[i] = float(source[i]);
      for (int64_t y = 0; y < out; y += kRows) {
        const int64_t n = out - y < kRows ? out - y : kRows;
        for (int64_t r = 0; r < kRows; r++) {
          const int64_t row = y + (r < n ? r : n - 1);  // the last block is filled up with its last row
          weigh_rows(plane + a.starts[row] * in, a.weights + row * taps, taps, in, rows + r * in);
        }
        side_by_side(rows, in, wide);
        for (int64_t x = 0; x < out; x++) {
          const float* weights = a.weights + x * taps;
          const float* from = wide + a.starts[x] * kRows;
          Lanes sum = {};
          for (int64_t t = 0; t < taps; t++) {
            Lanes next;
            memcpy(&next, from + t * kRows, sizeof next);
            sum += weights[t] * next;
          }
          memcpy(narrow + x * kRows, &sum, sizeof sum);
        }
        float* target = a.y + (p * out + y) * out;
        for (int64_t r = 0; r < n; r++)
          for (int64_t x = 0; x < out; x++) {
            const float v = narrow[x * kRows + r];
            target[r * out + x] = v < 0 ? 0 : v > a.highest ? a.highest : v;
          }
      }
    }
  });
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
