// The weight gradient of a 3x3 convolution with stride 2, channels_last.
#include "winograd_strided.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// G^T p G for one input channel and one panel of output channels: points [shares] of `pitch` values to [out, 9, in].
template <int COLUMNS, typename T>
static void unpack_down(const ConvolutionArgs& a, const Shares& shares, const float* sums, const int64_t* starts,
                        int64_t panel, int64_t in) {
  constexpr int kWidth = COLUMNS * kLanes;
  for (int q = 0; q < COLUMNS; q++) {
    Vec g[9];
    each_parity([&](auto rows, auto columns) {
      Vec p[kSide], half[3 * kSide];
      for (int j = 0; j < columns.value; j++) {
        for (int i = 0; i < rows.value; i++) {
          const int64_t place = shares.place(i * kSide + j, rows.value == kFinite, columns.value == kFinite) + in;
          p[i] = load_vec(sums + starts[i * kSide + j] + place * kWidth + q * kLanes);
        }
        points_to_taps<rows.value>(p, 1, half + j, kSide);
      }
      for (int i = 0; i < 3; i++)
        if ((i == 1) == (rows.value == kFinite)) points_to_taps<columns.value>(half + i * kSide, 1, g + i * 3, 1);
    });
    const int64_t first = panel * kWidth + q * kLanes;
    for (int64_t k = first; k < first + kLanes && k < a.out; k++)
      for (int t = 0; t < 9; t++) write(static_cast<T*>(a.d_weight) + (k * 9 + t) * a.in + in, g[t][k - first]);
  }
}

template <int COLUMNS, typename T>
static void differentiate_down(const ConvolutionArgs& a) {
  constexpr int kWidth = COLUMNS * kLanes, kGroup = kPerWord<T>;
  const Tiles tiles(a), big(2 * a.height + 1, 2 * a.width + 1);
  const Shares shares(round_up(a.in, kLanes));
  const int64_t panels = (a.out + kWidth - 1) / kWidth, all = shares.offset[kGrid];
  // Sums over tiles at each point, [kGrid][panels, rows, width], with room for the last rows of a product.
  int64_t starts[kGrid], size = 0;
  for (int i = 0; i < kGrid; i++) starts[i] = size, size += panels * round_up(shares.length(i), kRows) * kWidth + kLanes;
  const int64_t block = tiles.gradient_block(all + kGrid * panels * kWidth), words = (block + kGroup - 1) / kGroup;
  const int64_t dy_pitch = words * panels * kWidth + kLanes;
  const Memory<Word<T>> points(shares.start(kGrid, words) + kRows, kZeros), dy_points(kGrid * dy_pitch);
  const Memory<float> sums(size);
  for (int64_t first = 0; first < tiles.count; first += block) {
    const int64_t n = tiles.count - first < block ? tiles.count - first : block, n_words = (n + kGroup - 1) / kGroup;
    parallel(a.parallel, n_words, 8 / kGroup, [&](int64_t begin, int64_t end) {
      const int64_t most = round_up(a.out, kLanes) > shares.channels ? round_up(a.out, kLanes) : shares.channels;
      const int64_t patch = kBig * kBig * most;
      const Memory<T> zeros(kBig * most, kZeros), buffer(kGroup * patch);
      const auto input = [&](int64_t t) {
        if (t >= n) return Patch<kBig, T>(zeros);
        const Tiles::Place at = tiles[first + t];
        return Patch<kBig, T>(big_image<T>(a.x, a, at.sample, a.in), big, a.in, 2 * at.y, 2 * at.x, zeros,
                              buffer + t % kGroup * patch);
      };
      const auto gradient = [&](int64_t t) {
        if (t >= n) return Patch<kTile, T>(zeros);
        const Tiles::Place at = tiles[first + t];
        const T* dy = static_cast<const T*>(a.dy) + at.sample * a.height * a.width * a.out;
        return Patch<kTile, T>(dy, tiles, a.out, at.y, at.x, zeros, buffer + t % kGroup * patch);
      };
      for (int64_t word = begin; word < end; word++) {
        const int64_t t = word * kGroup;
        transform_big<kGroup>(patches_of<kGroup>(input, t).data(), shares, points.get(), word, words);
        transform_tile<kSide, outputs_to_points, kGroup>(patches_of<kGroup>(gradient, t).data(), round_up(a.out, kLanes),
                                                         dy_points + word * kWidth, dy_pitch, kWidth, words * kWidth);
      }
    });
    parallel(a.parallel, kGrid * panels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; task++) {
        const int i = int(task / panels);
        const int64_t panel = task % panels, length = shares.length(i);
        const Word<T>* from = dy_points + i * dy_pitch + panel * words * kWidth;
        for (int64_t c = 0; c < length; c += kRows) {
          float* to = sums + starts[i] + (panel * round_up(length, kRows) + c) * kWidth;
          const Word<T>* big_points = points + shares.start(i, words) + c;
          if (first)
            multiply<COLUMNS, true>(big_points, 1, length, from, n_words, to);
          else
            multiply<COLUMNS, false>(big_points, 1, length, from, n_words, to);
        }
      }
    });
  }
  parallel(a.parallel, panels * a.in, 64, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t panel = task / a.in;
      int64_t there[kGrid];
      for (int i = 0; i < kGrid; i++) there[i] = starts[i] + panel * round_up(shares.length(i), kRows) * kWidth;
      unpack_down<COLUMNS, T>(a, shares, sums, there, panel, task % a.in);
    }
  });
}

void convolution_down_weight_grad(const ConvolutionArgs& a) {
  with_image_type(a.dtype, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    a.out <= kLanes ? differentiate_down<1, T>(a) : differentiate_down<2, T>(a);
  });
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
