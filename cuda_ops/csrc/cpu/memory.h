// Memory of a call or of one thread, given back at the end of its scope.
#pragma once

#include <stdlib.h>
#include <string.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "numbers.h"

namespace gan_lt {
namespace GAN_LT_ISA {

enum Filling { kUninitialised, kZeros };

// n values from a cache line's start on: loads that straddle two lines cost twice. Throws where there is no memory.
template <typename S>
class Memory {
 public:
  explicit Memory(int64_t n, Filling filling = kUninitialised) {
    const size_t values = size_t(n > 0 ? n : 1) * sizeof(S), line = values < kHuge ? 64 : kHugePage;
    const size_t bytes = (values + line - 1) / line * line;
    data_ = static_cast<S*>(aligned_alloc(line, bytes));
    if (!data_) no_memory(bytes);
#if defined(MADV_HUGEPAGE)
    // Where large memory comes from the system every time, taking it in small pages costs as much as using it.
    if (values >= kHuge) madvise(static_cast<void*>(data_), bytes, MADV_HUGEPAGE);
#endif
    if (filling == kZeros) memset(static_cast<void*>(data_), 0, bytes);
  }
  ~Memory() { free(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  operator S*() const { return data_; }
  S* get() const { return data_; }

 private:
  static constexpr size_t kHugePage = 2 << 20, kHuge = 8 << 20;
  S* data_;
};

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
