// CUDA's built-in vector types. A copy of one is a single access of its whole size, as one load or store instruction is
// on the device: without that the compiler would split a 16-byte load into four, and the checks of alignment and the
// counters of traffic would see something the GPU does not do.
#pragma once

#include <cstddef>
#include <cstdint>

namespace simt::detail {

using Bytes16 = int __attribute__((vector_size(16), may_alias));
using Bytes8 = uint64_t __attribute__((may_alias));
using Bytes4 = uint32_t __attribute__((may_alias));
using Bytes2 = uint16_t __attribute__((may_alias));

// The empty asm takes the loaded value as a whole, so that the compiler cannot load it in parts.
inline __attribute__((always_inline)) void copy_whole(Bytes16* to, const Bytes16* from) {
    Bytes16 value = *from;
    asm("" : "+x"(value));
    *to = value;
}
inline __attribute__((always_inline)) void copy_whole(Bytes8* to, const Bytes8* from) {
    Bytes8 value = *from;
    asm("" : "+r"(value));
    *to = value;
}
inline __attribute__((always_inline)) void copy_whole(Bytes4* to, const Bytes4* from) {
    Bytes4 value = *from;
    asm("" : "+r"(value));
    *to = value;
}
inline __attribute__((always_inline)) void copy_whole(Bytes2* to, const Bytes2* from) {
    Bytes2 value = *from;
    asm("" : "+r"(value));
    *to = value;
}

} // namespace simt::detail

#define SIMT_WHOLE_COPY(name, bytes)                                                                                   \
    name() = default;                                                                                                  \
    inline __attribute__((always_inline)) name(const name& other) {                                                    \
        ::simt::detail::copy_whole(reinterpret_cast<bytes*>(this), reinterpret_cast<const bytes*>(&other));            \
    }                                                                                                                  \
    inline __attribute__((always_inline)) name& operator=(const name& other) {                                         \
        ::simt::detail::copy_whole(reinterpret_cast<bytes*>(this), reinterpret_cast<const bytes*>(&other));            \
        return *this;                                                                                                  \
    }

#define SIMT_VECTOR2(name, type, alignment, bytes)                                                                     \
    struct __attribute__((aligned(alignment))) name {                                                                  \
        type x, y;                                                                                                     \
        SIMT_WHOLE_COPY(name, bytes)                                                                                   \
        constexpr name(type x_, type y_) : x(x_), y(y_) {}                                                             \
    };                                                                                                                 \
    inline name make_##name(type x, type y) {                                                                          \
        return name(x, y);                                                                                             \
    }

#define SIMT_VECTOR4(name, type, alignment, bytes)                                                                     \
    struct __attribute__((aligned(alignment))) name {                                                                  \
        type x, y, z, w;                                                                                               \
        SIMT_WHOLE_COPY(name, bytes)                                                                                   \
        constexpr name(type x_, type y_, type z_, type w_) : x(x_), y(y_), z(z_), w(w_) {}                             \
    };                                                                                                                 \
    inline name make_##name(type x, type y, type z, type w) {                                                          \
        return name(x, y, z, w);                                                                                       \
    }

SIMT_VECTOR2(char2, signed char, 2, ::simt::detail::Bytes2)
SIMT_VECTOR2(uchar2, unsigned char, 2, ::simt::detail::Bytes2)
SIMT_VECTOR2(short2, short, 4, ::simt::detail::Bytes4)
SIMT_VECTOR2(ushort2, unsigned short, 4, ::simt::detail::Bytes4)
SIMT_VECTOR2(int2, int, 8, ::simt::detail::Bytes8)
SIMT_VECTOR2(uint2, unsigned int, 8, ::simt::detail::Bytes8)
SIMT_VECTOR2(float2, float, 8, ::simt::detail::Bytes8)
SIMT_VECTOR2(longlong2, long long, 16, ::simt::detail::Bytes16)
SIMT_VECTOR2(ulonglong2, unsigned long long, 16, ::simt::detail::Bytes16)
SIMT_VECTOR2(double2, double, 16, ::simt::detail::Bytes16)
SIMT_VECTOR4(char4, signed char, 4, ::simt::detail::Bytes4)
SIMT_VECTOR4(uchar4, unsigned char, 4, ::simt::detail::Bytes4)
SIMT_VECTOR4(short4, short, 8, ::simt::detail::Bytes8)
SIMT_VECTOR4(ushort4, unsigned short, 8, ::simt::detail::Bytes8)
SIMT_VECTOR4(int4, int, 16, ::simt::detail::Bytes16)
SIMT_VECTOR4(uint4, unsigned int, 16, ::simt::detail::Bytes16)
SIMT_VECTOR4(float4, float, 16, ::simt::detail::Bytes16)

#undef SIMT_VECTOR2
#undef SIMT_VECTOR4

struct uint3 {
    unsigned int x, y, z;
};
struct int3 {
    int x, y, z;
};
struct float3 {
    float x, y, z;
};
inline uint3 make_uint3(unsigned int x, unsigned int y, unsigned int z) {
    return {x, y, z};
}
inline int3 make_int3(int x, int y, int z) {
    return {x, y, z};
}
inline float3 make_float3(float x, float y, float z) {
    return {x, y, z};
}

struct dim3 {
    unsigned int x, y, z;
    constexpr dim3(unsigned int x_ = 1, unsigned int y_ = 1, unsigned int z_ = 1) : x(x_), y(y_), z(z_) {}
};
