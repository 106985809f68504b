// Memory of a call or of one thread, given back at the end of its scope.
#pragma once

#include <stdlib.h>
#include <string.h>

#include "numbers.h"

namespace gan_lt {
namespace GAN_LT_ISA {

enum Filling { kUninitialised, kZeros };

// n values from a cache line's start on: loads that straddle two lines cost twice. Throws where there is no memory.
template <typename S>
class Memory {
 public:
  explicit Memory(int64_t n, Filling filling = kUninitialised) {
    const size_t bytes = (size_t(n > 0 ? n : 1) * sizeof(S) + 63) / 64 * 64;
    data_ = static_cast<S*>(aligned_alloc(64, bytes));
    if (!data_) no_memory(bytes);
    if (filling == kZeros) memset(static_cast<void*>(data_), 0, bytes);
  }
  ~Memory() { free(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  operator S*() const { return data_; }
  S* get() const { return data_; }

 private:
  S* data_;
};

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
