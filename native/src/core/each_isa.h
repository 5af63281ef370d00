// Declares something once in the namespace of every instruction set the kernels are compiled for. Of avx512bf16 only
// what core/isa.cpp takes from it is.
#pragma once

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
