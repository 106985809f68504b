// A C function that finds a kernel by its C++ template expression, spaces aside.
#pragma once

#include <string.h>

// The name without the parentheses that carry it through the macros and without spaces.
static inline bool gan_lt_same_name(const char* expression, const char* name) {
  expression++;
  for (; *name; name++) {
    while (*expression == ' ') expression++;
    if (*name == ' ') continue;
    if (*expression++ != *name) return false;
  }
  return strcmp(expression, ")") == 0;
}

#define GAN_LT_EXPORT extern "C" __attribute__((visibility("default")))
#define GAN_LT_KERNEL(expression) \
  if (gan_lt_same_name(#expression, name)) return reinterpret_cast<const void*>(expression);
#define GAN_LT_KERNEL_TABLE(function, ...)                 \
  GAN_LT_EXPORT const void* function(const char* name) {   \
    __VA_ARGS__                                            \
    return nullptr;                                        \
  }
