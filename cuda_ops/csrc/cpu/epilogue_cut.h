// How the epilogue kernels cut a tensor into tasks, and how they choose the loop for an activation.
//
// Tasks are fixed pieces of one sample; partial sums are kept a task and added in order at the end, so that results do not
// depend on the number of threads.
#pragma once

#include <math.h>

#include <type_traits>

#include "../bias_act_math.h"
#include "vectors.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// Values computed at a time where a buffer in the L1 cache is needed: few, so that memory is read on meanwhile (measured).
static constexpr int64_t kBlock = 512;
static constexpr int64_t kChunk = 32768;  // values a task
static constexpr int64_t kRow = 256;      // values a row should have, so that loops over it are long

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t least(int64_t a, int64_t b, int64_t c) { return least(least(a, b), c); }

// channels_last: a row holds the channels `repeat` times, a task whole rows (the last maybe cut short). Otherwise a task
// lies within one plane (one sample and channel).
struct Cut {
  bool channels_last;
  int64_t samples, pixels, channels, repeat, row, span, chunk, chunks, tasks;

  explicit Cut(const EpilogueArgs& a)
      : channels_last(a.channels_last), samples(a.samples), pixels(a.pixels), channels(a.channels) {
    repeat = channels_last && !a.noise ? (kRow + channels - 1) / channels : 1;
    row = channels_last ? channels * repeat : 1;
    span = channels_last ? pixels * channels : pixels;
    chunk = row > kChunk ? row : kChunk / row * row;
    chunks = (span + chunk - 1) / chunk;
    tasks = (channels_last ? samples : samples * channels) * chunks;
  }
  // The fewest tasks that are worth a thread.
  int64_t grain() const { return 16384 / (least(span, chunk) + 1); }
};

struct Task {
  int64_t sample, channel, offset, size, pixel;  // offset into the tensor; pixel: the first one's number in its sample

  Task(const Cut& cut, int64_t index) {
    const int64_t plane = index / cut.chunks, begin = index % cut.chunks * cut.chunk;
    sample = cut.channels_last ? plane : plane / cut.channels;
    channel = cut.channels_last ? 0 : plane % cut.channels;
    offset = plane * cut.span + begin;
    size = least(cut.span - begin, cut.chunk);
    pixel = cut.channels_last ? begin / cut.channels : begin;
  }
};

// values[0 .. row) = source[0 .. channels) repeated, or a constant where source is null.
template <typename S>
static void repeat_row(S* values, const S* source, S otherwise, const Cut& cut) {
  for (int64_t r = 0; r < cut.repeat; r++)
    for (int64_t c = 0; c < cut.channels; c++) values[r * cut.channels + c] = source ? source[c] : otherwise;
}

// The noise of a task's first pixel, or null.
template <typename S>
static const S* task_noise(const EpilogueArgs& a, const Cut& cut, const Task& task) {
  const S* noise = static_cast<const S*>(a.noise);
  return noise ? noise + (a.noise_per_sample ? task.sample * cut.pixels : 0) + task.pixel : nullptr;
}

// Linear and relu run as lrelu with slopes 1 and 0 (where 0 times infinity does no harm).
template <typename S>
static ActScale<S> lrelu_scale(const EpilogueArgs& a) {
  return {S(a.act == kLinear ? 1 : a.act == kRelu ? 0 : a.alpha), S(a.gain), S(a.limit)};
}
template <typename S>
static ActScale<S> act_scale(const EpilogueArgs& a) {
  return {S(a.alpha), S(a.gain), S(a.limit)};
}

// loop(std::integral_constant<int, act>) for a smooth act.
template <typename F>
static inline void with_smooth_act(int act, const F& loop) {
  switch (act) {
    case kTanh: return loop(std::integral_constant<int, kTanh>());
    case kSigmoid: return loop(std::integral_constant<int, kSigmoid>());
    case kElu: return loop(std::integral_constant<int, kElu>());
    case kSelu: return loop(std::integral_constant<int, kSelu>());
    case kSoftplus: return loop(std::integral_constant<int, kSoftplus>());
    default: return loop(std::integral_constant<int, kSwish>());
  }
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
