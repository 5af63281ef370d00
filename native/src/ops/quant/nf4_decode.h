// NF4 codes to fp32 a register at a time, bit-equal to nf4_value().
#pragma once

#include "ops/linear/vector.h"
#include "ops/quant/nf4_value.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// y[i] = value of flattened element e + i, any e and count: absmax once per block, codes one by one.
inline void nf4_decode_any(float* y, const ftc_weight& w, int64_t e, int64_t count) {
    while (count > 0) {
        const int64_t block = e / w.block_size;
        const int64_t left = (block + 1) * w.block_size - e;
        const int64_t run = left < count ? left : count;
        const float absmax = nf4_absmax(w, block);
        for (int64_t i = 0; i < run; i++) y[i] = w.quant_map[nf4_code(w, e + i)] * absmax;
        y += run;
        e += run;
        count -= run;
    }
}

#if defined(FTC_ISA_avx512)

#define FTC_NF4_VECTORS 1
using Nf4Table = __m512;
using Codes = __m512i;

inline Nf4Table nf4_table(const float* quant_map) {
    return _mm512_loadu_ps(quant_map);
}
inline Nf4Table nf4_scaled(Nf4Table table, float absmax) {
    return _mm512_mul_ps(table, _mm512_set1_ps(absmax));
}
inline Codes as_codes(Vec v) {
    return _mm512_castps_si512(v);
}
// Code in the low four bits of each lane; a permute reads no more of them.
inline Vec nf4_look_up(Nf4Table table, Codes codes) {
    return _mm512_permutexvar_ps(codes, table);
}
template <int Shift>
inline Codes shift_right(Codes codes) {
    return _mm512_srli_epi32(codes, Shift);
}
// kLanes consecutive codes, one per lane.
inline Codes nf4_spread(const uint8_t* bytes) {
    const __m512i word = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    const __m512i shift = _mm512_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24, 4, 0, 12, 8, 20, 16, 28, 24);
    const __m512i two_words = _mm512_castsi128_si512(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)));
    return _mm512_srlv_epi32(_mm512_permutexvar_epi32(word, two_words), shift);
}

// Two registers of consecutive codes of a block, shuffled: element 8 i + j at place 4 j + i, where shifts alone bring
// it.
inline void nf4_decode_shuffled(Vec y[2], const uint8_t* bytes, Nf4Table scaled) {
    const __m512i words = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
    const Codes codes = _mm512_srlv_epi32(words, _mm512_setr_epi32(4, 4, 4, 4, 0, 0, 0, 0, 12, 12, 12, 12, 8, 8, 8, 8));
    y[0] = nf4_look_up(scaled, codes);
    y[1] = nf4_look_up(scaled, shift_right<16>(codes));
}
inline void nf4_unshuffle(Vec y[2]) {
    const __m512i low = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
    const Vec first = _mm512_permutex2var_ps(y[0], low, y[1]);
    y[1] = _mm512_permutex2var_ps(y[0], _mm512_add_epi32(low, _mm512_set1_epi32(2)), y[1]);
    y[0] = first;
}

#elif defined(FTC_ISA_avx2)

#define FTC_NF4_VECTORS 1
using Codes = __m256i;

// A permute of eight floats costs Zen 3 nearly as much as three shuffles of bytes, so the four bytes of a value are
// looked up in tables of their own, 32 codes at a time: bytes[p] is byte p of the sixteen values, in either half.
struct Nf4Table {
    __m256i bytes[4];
};

// Byte 4 i + j of each half to place 4 j + i.
inline __m256i transpose_bytes(__m256i x) {
    return _mm256_shuffle_epi8(x, _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1,
                                                   5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
}

inline Nf4Table nf4_table(const float* quant_map) {
    const __m256i first = transpose_bytes(_mm256_castps_si256(_mm256_loadu_ps(quant_map)));
    const __m256i second = transpose_bytes(_mm256_castps_si256(_mm256_loadu_ps(quant_map + 8)));
    const __m256i low = _mm256_unpacklo_epi32(first, second), high = _mm256_unpackhi_epi32(first, second);
    const __m256i even = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5), odd = _mm256_setr_epi32(2, 6, 3, 7, 2, 6, 3, 7);
    return {{_mm256_permutevar8x32_epi32(low, even), _mm256_permutevar8x32_epi32(low, odd),
             _mm256_permutevar8x32_epi32(high, even), _mm256_permutevar8x32_epi32(high, odd)}};
}
inline Codes as_codes(Vec v) {
    return _mm256_castps_si256(v);
}
// Byte 4 j + i of half h, a code, to lane 4 h + i of y[j].
[[gnu::always_inline]] inline void nf4_look_up(Vec y[4], const Nf4Table& table, Codes codes) {
    const __m256i byte0 = _mm256_shuffle_epi8(table.bytes[0], codes),
                  byte1 = _mm256_shuffle_epi8(table.bytes[1], codes);
    const __m256i low01 = _mm256_unpacklo_epi8(byte0, byte1), high01 = _mm256_unpackhi_epi8(byte0, byte1);
    const __m256i byte2 = _mm256_shuffle_epi8(table.bytes[2], codes),
                  byte3 = _mm256_shuffle_epi8(table.bytes[3], codes);
    const __m256i low23 = _mm256_unpacklo_epi8(byte2, byte3), high23 = _mm256_unpackhi_epi8(byte2, byte3);
    y[0] = _mm256_castsi256_ps(_mm256_unpacklo_epi16(low01, low23));
    y[1] = _mm256_castsi256_ps(_mm256_unpackhi_epi16(low01, low23));
    y[2] = _mm256_castsi256_ps(_mm256_unpacklo_epi16(high01, high23));
    y[3] = _mm256_castsi256_ps(_mm256_unpackhi_epi16(high01, high23));
}
// Four registers of codes of kLanes rows from row(i) on, bytes moved as floats: byte 4 j + i of half h is byte j of row
// 4 h + i.
template <class Row>
[[gnu::always_inline]] inline void nf4_transpose_codes(Codes y[4], const Row& row) {
    __m256i in[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const float* quads[2] = {row(i), row(4 + i)};
        in[i] = as_codes(load_quads<Vec>(quads));
    }
    const __m256i low01 = _mm256_unpacklo_epi8(in[0], in[1]), high01 = _mm256_unpackhi_epi8(in[0], in[1]);
    const __m256i low23 = _mm256_unpacklo_epi8(in[2], in[3]), high23 = _mm256_unpackhi_epi8(in[2], in[3]);
    y[0] = _mm256_unpacklo_epi16(low01, low23);
    y[1] = _mm256_unpackhi_epi16(low01, low23);
    y[2] = _mm256_unpacklo_epi16(high01, high23);
    y[3] = _mm256_unpackhi_epi16(high01, high23);
}
// Values of the eight codes of each lane.
struct EightCodes {
    Vec values[8];

    template <int I>
    [[gnu::always_inline]] Vec value() const {
        return values[I];
    }
};
[[gnu::always_inline]] inline EightCodes nf4_eight_codes(const Nf4Table& table, Codes bytes) {
    const __m256i four_bits = _mm256_set1_epi8(0x0f);
    Vec high[4], low[4];
    nf4_look_up(high, table, _mm256_and_si256(_mm256_srli_epi16(bytes, 4), four_bits));
    nf4_look_up(low, table, _mm256_and_si256(bytes, four_bits));
    return {{high[0], low[0], high[1], low[1], high[2], low[2], high[3], low[3]}};
}
// Values of the codes of sixteen bytes, which lie in both halves of `bytes`, shuffled within registers: element 2 i + j
// at place 4 j + i, so that a shift alone splits the bytes.
[[gnu::always_inline]] inline void nf4_decode_shuffled(Vec y[4], const Nf4Table& table, __m256i bytes) {
    const __m256i first_or_second = _mm256_srlv_epi32(bytes, _mm256_setr_epi32(4, 4, 4, 4, 0, 0, 0, 0));
    nf4_look_up(y, table, _mm256_and_si256(first_or_second, _mm256_set1_epi8(0x0f)));
}
inline __m256i nf4_both_halves(const uint8_t* bytes) { // sixteen
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
}
inline __m256i nf4_both_halves(const uint8_t* first, const uint8_t* second) { // eight and eight
    int64_t words[2];
    __builtin_memcpy(&words[0], first, sizeof(words[0]));
    __builtin_memcpy(&words[1], second, sizeof(words[1]));
    return _mm256_blend_epi32(_mm256_set1_epi64x(words[0]), _mm256_set1_epi64x(words[1]), 0xcc);
}
inline Vec nf4_unshuffle(Vec y) {
    return _mm256_permutevar8x32_ps(y, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
// 8 Vecs consecutive codes, shuffled like that, and in order.
template <int Vecs>
[[gnu::always_inline]] inline void nf4_look_up_columns(Vec y[Vecs], const Nf4Table& table, const uint8_t* bytes) {
    static_assert(Vecs == 2 || Vecs == 4);
    Vec values[4];
    nf4_decode_shuffled(values, table, Vecs == 4 ? nf4_both_halves(bytes) : nf4_both_halves(bytes, bytes));
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; v++) y[v] = values[v];
}
template <int Vecs>
[[gnu::always_inline]] inline void nf4_look_up_run(Vec y[Vecs], const Nf4Table& table, const uint8_t* bytes) {
    nf4_look_up_columns<Vecs>(y, table, bytes);
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; v++) y[v] = nf4_unshuffle(y[v]);
}

#elif defined(FTC_ISA_neon)

#define FTC_NF4_VECTORS 1
// The sixteen values as 64 bytes; a look-up takes the four bytes of a value.
using Nf4Table = uint8x16x4_t;
using Codes = uint32x4_t;

inline Nf4Table nf4_table(const float* quant_map) {
    return vld1q_u8_x4(reinterpret_cast<const uint8_t*>(quant_map));
}
inline Codes as_codes(Vec v) {
    return vreinterpretq_u32_f32(v);
}
inline Vec nf4_look_up(const Nf4Table& table, Codes codes) {
    const uint32x4_t first_byte = vandq_u32(vshlq_n_u32(codes, 2), vdupq_n_u32(0x3c));
    const uint32x4_t bytes = vaddq_u32(vmulq_n_u32(first_byte, 0x01010101U), vdupq_n_u32(0x03020100U));
    return vreinterpretq_f32_u8(vqtbl4q_u8(table, vreinterpretq_u8_u32(bytes)));
}
template <int Shift>
inline Codes shift_right(Codes codes) {
    if constexpr (Shift == 0)
        return codes;
    else
        return vshrq_n_u32(codes, Shift);
}
inline Codes nf4_spread(const uint8_t* bytes) {
    uint16_t word;
    __builtin_memcpy(&word, bytes, sizeof(word));
    alignas(16) static constexpr int32_t kShifts[4] = {-4, 0, -12, -8};
    return vshlq_u32(vdupq_n_u32(word), vld1q_s32(kShifts));
}

#else

#define FTC_NF4_VECTORS 0

#endif

#if FTC_NF4_VECTORS

#if !defined(FTC_ISA_avx2)
// Four registers of codes of kLanes rows from row(i) on, bytes moved as floats: lane i holds four bytes of row i.
template <class Row>
[[gnu::always_inline]] inline void nf4_transpose_codes(Codes y[4], const Row& row) {
    Vec words[4];
    transpose_rows(words, row);
    for (int d = 0; d < 4; d++) y[d] = as_codes(words[d]);
}
// Values of the eight codes of each lane, looked up when they are asked for.
struct EightCodes {
    const Nf4Table* table;
    Codes codes;

    // The high half of a byte comes first.
    template <int I>
    [[gnu::always_inline]] Vec value() const {
        return nf4_look_up(*table, shift_right<I / 2 * 8 + (I % 2 == 0 ? 4 : 0)>(codes));
    }
};
[[gnu::always_inline]] inline EightCodes nf4_eight_codes(const Nf4Table& table, Codes words) {
    return {&table, words};
}
// kLanes Vecs consecutive codes.
template <int Vecs>
[[gnu::always_inline]] inline void nf4_look_up_run(Vec y[Vecs], const Nf4Table& table, const uint8_t* bytes) {
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; v++) y[v] = nf4_look_up(table, nf4_spread(bytes + v * kLanes / 2));
}
// The same where shuffles_columns wants no other order.
template <int Vecs>
[[gnu::always_inline]] inline void nf4_look_up_columns(Vec y[Vecs], const Nf4Table& table, const uint8_t* bytes) {
    nf4_look_up_run<Vecs>(y, table, bytes);
}
#endif

// A block of 64 as a matrix of eight words by eight codes, transposed: element 8 i + j comes to y[8 j + i], the order
// in which a register of words gives its codes.
[[gnu::always_inline]] inline void nf4_decode_transposed(float* y, const uint8_t* bytes, const Nf4Table& table,
                                                         float absmax) {
#if defined(FTC_ISA_avx512)
    const Nf4Table scaled = nf4_scaled(table, absmax);
    const __m512i words = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)));
    const Codes codes = _mm512_srlv_epi32(words, _mm512_setr_epi32(4, 4, 4, 4, 4, 4, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0));
    store(y, nf4_look_up(scaled, codes));
    store(y + 16, nf4_look_up(scaled, shift_right<8>(codes)));
    store(y + 32, nf4_look_up(scaled, shift_right<16>(codes)));
    store(y + 48, nf4_look_up(scaled, shift_right<24>(codes)));
#else
    const Vec factor = broadcast(absmax);
    for (int i = 0; i < 8; i += kLanes) {
        const EightCodes codes = nf4_eight_codes(table, as_codes(load(reinterpret_cast<const float*>(bytes) + i)));
        store(y + i, mul(codes.value<0>(), factor));
        store(y + 8 + i, mul(codes.value<1>(), factor));
        store(y + 16 + i, mul(codes.value<2>(), factor));
        store(y + 24 + i, mul(codes.value<3>(), factor));
        store(y + 32 + i, mul(codes.value<4>(), factor));
        store(y + 40 + i, mul(codes.value<5>(), factor));
        store(y + 48 + i, mul(codes.value<6>(), factor));
        store(y + 56 + i, mul(codes.value<7>(), factor));
    }
#endif
}

#endif

// absmax of the blocks that hold depths [begin, begin + depth), whole blocks of 64, of rows row(0), row(1), ...:
// y[b * Rows + i] for block b of row(i).
template <int Rows, class Row>
inline void nf4_absmax_of_rows(float* y, const ftc_weight& w, const Row& row, int64_t begin, int64_t depth) {
    constexpr int64_t kRun = 16;
    for (int64_t b = 0; b < depth / 64; b += kRun) {
        const int64_t left = depth / 64 - b, count = left < kRun ? left : kRun;
        for (int i = 0; i < Rows; i++) {
            const int64_t block = row(i) * (w.cols / 64) + begin / 64 + b;
            float nested[kRun];
            if (w.nested_absmax != nullptr) nf4_nested_run(nested, w, block, count);
            const float* absmax = w.nested_absmax != nullptr ? nested : static_cast<const float*>(w.absmax) + block;
            for (int64_t j = 0; j < count; j++) y[(b + j) * Rows + i] = absmax[j];
        }
    }
}

// Rows are whole blocks, so a block never straddles rows and every row starts on a byte.
inline bool nf4_rows_aligned(const ftc_weight& w) {
    return w.cols % 64 == 0;
}

// y[i] = element (row, col + i).
inline void nf4_decode_row(float* y, const ftc_weight& w, int64_t row, int64_t col, int64_t count) {
    int64_t e = row * w.cols + col;
#if FTC_NF4_VECTORS
    if (nf4_rows_aligned(w) && col % 64 == 0) {
        const Nf4Table table = nf4_table(w.quant_map);
        for (; count >= 64; count -= 64, y += 64, e += 64) {
            const Vec absmax = broadcast(nf4_absmax(w, e / 64));
            const uint8_t* bytes = static_cast<const uint8_t*>(w.data) + e / 2;
            for (int i = 0; i < 64; i += 4 * kLanes) {
                Vec values[4];
                nf4_look_up_run<4>(values, table, bytes + i / 2);
                for (int v = 0; v < 4; v++) store(y + i + v * kLanes, mul(values[v], absmax));
            }
        }
    }
#endif
    nf4_decode_any(y, w, e, count);
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
