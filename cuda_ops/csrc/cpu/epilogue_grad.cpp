// The epilogues' gradient on the CPU, with the sums for bias, demodulation and noise strength in the same pass.
#include "epilogue_grad_loops.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// Adds the tasks' partial sums [tasks, 3, width] up, in order, in double.
template <typename S>
static void add_partial_sums(const EpilogueGradArgs& g, const Cut& cut, const S* partial) {
  const int64_t c = cut.channels, width = cut.channels_last ? c : 1;
  const Memory<double> bias(c, kZeros), demod(cut.samples * c, kZeros);
  double strength = 0;
  for (int64_t t = 0; t < cut.tasks; t++) {
    const int64_t first = t / cut.chunks * width;  // of [samples, channels]
    const S* sums = partial + t * 3 * width;
    double* bias_here = bias + first % c;
    for (int64_t i = 0; i < width; i++) bias_here[i] += sums[i];
    if (g.d_demod)
      for (int64_t i = 0; i < width; i++) demod[first + i] += sums[width + i];
    strength += sums[2 * width];
  }
  if (g.d_bias)
    for (int64_t i = 0; i < c; i++) static_cast<S*>(g.d_bias)[i] = S(bias[i]);
  if (g.d_demod)
    for (int64_t i = 0; i < cut.samples * c; i++) static_cast<S*>(g.d_demod)[i] = S(demod[i]);
  if (g.d_strength) *static_cast<S*>(g.d_strength) = S(strength);
}

// One thread's part of the work: the parameters as its loops want them, and sums of the task at hand.
template <typename T>
struct GradientWorker {
  using S = typename Accumulator<T>::type;
  const EpilogueGradArgs& g;
  const EpilogueArgs& a;
  const Cut& cut;
  const GradientLoops<S>& loops;
  const T *x, *dy;
  T* dx;
  const S *demods, *bias, *tangent_bias;
  const ActScale<S> p;
  const S strength;
  const Memory<S> vectors;
  S *base, *demod, *tangent, *sums;  // each a row long, but for the sums: two rows
  alignas(64) S buffers[3][kBlock];

  GradientWorker(const EpilogueGradArgs& args, const Cut& cut_, const GradientLoops<S>& loops_)
      : g(args),
        a(args.forward),
        cut(cut_),
        loops(loops_),
        x(static_cast<const T*>(a.x)),
        dy(static_cast<const T*>(g.dy)),
        dx(static_cast<T*>(g.dx)),
        demods(static_cast<const S*>(a.demod)),
        bias(static_cast<const S*>(a.bias)),
        tangent_bias(static_cast<const S*>(g.tangent_bias)),
        p(lrelu_scale<S>(a)),
        strength(S(a.strength)),
        vectors(5 * cut.row, kZeros) {
    base = vectors, demod = vectors + cut.row, tangent = vectors + 2 * cut.row, sums = vectors + 3 * cut.row;
    if (!cut.channels_last) return;
    repeat_row(base, bias, S(0), cut);
    repeat_row(tangent, tangent_bias, S(0), cut);
    repeat_row<S>(demod, nullptr, S(1), cut);
  }

  // Part of a plane; result: the sums of dz, dz * x, dz * noise.
  void plane(const Task& task, S* result) {
    const S* noise = task_noise<S>(a, cut, task);
    PlanePiece<S> piece{};
    piece.demod = demods ? demods[task.sample * cut.channels + task.channel] : S(1);
    piece.base = bias ? bias[task.channel] : S(0);
    piece.tangent = tangent_bias ? tangent_bias[task.channel] : S(0);
    piece.strength = strength;
    for (int64_t i = 0; i < task.size; i += kBlock) {
      const int64_t at = task.offset + i;
      piece.n = least(kBlock, task.size - i);
      piece.dy = load(dy + at, buffers[0], piece.n);
      piece.x = load(x + at, buffers[1], piece.n);
      piece.dx = staged(dx + at, buffers[2]);
      piece.noise = noise ? noise + i : nullptr;
      loops.plane(piece, p, result);
      store(dx + at, piece.dx, piece.n);
    }
  }

  // Some rows of a sample; result: for each channel the sums of dz and dz * x, then that of dz * noise.
  void rows(const Task& task, S* result) {
    const int64_t row = cut.row, width = cut.channels;
    const S* noise = task_noise<S>(a, cut, task);
    if (demods) repeat_row(demod, demods + task.sample * width, S(1), cut);
    memset(sums, 0, size_t(2 * row) * sizeof(S));
    S sum_noise = 0;
    // Values that need no conversion run through in one go; others as many rows (or parts of them) as buffers hold.
    const bool direct = std::is_same_v<S, T>;
    const int64_t whole = task.size / row, at_once = direct ? whole : kBlock / row > 0 ? kBlock / row : 1;
    for (int64_t r = 0; r < whole; r += at_once) {
      const int64_t count = least(at_once, whole - r);
      row_pieces(task.offset + r * row, count, row, noise ? noise + r : nullptr, sum_noise);
    }
    if (task.size > whole * row)
      row_pieces(task.offset + whole * row, 1, task.size - whole * row, noise ? noise + whole : nullptr, sum_noise);
    for (int64_t k = 0; k < (loops.modulated ? 2 : 1); k++)
      for (int64_t r = 0; r < cut.repeat; r++)
        for (int64_t c = 0; c < width; c++) result[k * width + c] += sums[k * row + r * width + c];
    result[2 * width] = sum_noise;
  }

  // `count` rows of `length` values from `offset` on; several only where all of them fit the buffers or need none.
  void row_pieces(int64_t offset, int64_t count, int64_t length, const S* noise, S& sum_noise) {
    const bool direct = std::is_same_v<S, T>;
    const int64_t columns = direct ? length : kBlock;
    for (int64_t c = 0; c < length; c += columns) {
      const int64_t at = offset + c, n = least(columns, length - c), values = count > 1 ? count * length : n;
      RowsPiece<S> piece{};
      piece.dy = load(dy + at, buffers[0], values);
      piece.x = load(x + at, buffers[1], values);
      piece.dx = staged(dx + at, buffers[2]);
      piece.pitch = cut.row, piece.count = count, piece.n = n;
      piece.demod = demod + c, piece.base = base + c, piece.tangent = tangent + c;
      piece.noise = noise, piece.strength = strength;
      piece.sum_bias = sums + c, piece.sum_demod = sums + cut.row + c;
      sum_noise += loops.rows(piece, p);
      store(dx + at, piece.dx, values);
    }
  }
};

template <typename T>
static void gradient(const EpilogueGradArgs& g) {
  using S = typename Accumulator<T>::type;
  const EpilogueArgs& a = g.forward;
  const GradientLoops<S> loops(g);
  const Cut cut(a);
  const int64_t width = cut.channels_last ? cut.channels : 1;
  const Memory<S> partial(cut.tasks * 3 * width, kZeros);
  parallel(a.parallel, cut.tasks, cut.grain(), [&](int64_t begin, int64_t end) {
    GradientWorker<T> worker(g, cut, loops);
    for (int64_t index = begin; index < end; index++) {
      const Task task(cut, index);
      S* result = partial + index * 3 * width;
      cut.channels_last ? worker.rows(task, result) : worker.plane(task, result);
    }
  });
  add_partial_sums<S>(g, cut, partial);
}

void epilogue_grad(const EpilogueGradArgs& g) {
  with_type(g.forward.dtype, [&](auto* type) { gradient<std::remove_pointer_t<decltype(type)>>(g); });
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
