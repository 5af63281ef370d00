// Declares something once in the namespace of every instruction set the kernels are compiled for. Of avx512bf16 only
// what core/isa_x86.cpp takes from it is.
#pragma once

#if defined(__aarch64__)

#define FTC_FOR_EACH_ISA(...)                                                                                          \
    namespace neon {                                                                                                   \
    __VA_ARGS__                                                                                                        \
    }

#else

#define FTC_FOR_EACH_ISA(...)                                                                                          \
    namespace portable {                                                                                               \
    __VA_ARGS__                                                                                                        \
    }                                                                                                                  \
    namespace avx2 {                                                                                                   \
    __VA_ARGS__                                                                                                        \
    }                                                                                                                  \
    namespace avx512 {                                                                                                 \
    __VA_ARGS__                                                                                                        \
    }                                                                                                                  \
    namespace avx512bf16 {                                                                                             \
    __VA_ARGS__                                                                                                        \
    }

#endif
