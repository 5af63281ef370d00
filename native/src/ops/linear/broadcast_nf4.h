// Tiles of broadcast_tile.h whose columns are rows of NF4.
#pragma once

#include "ops/linear/broadcast_tile.h"
#include "ops/quant/nf4_decode.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// Columns of C in a tile, and units of rows in it. Panels of one product share what the first made of the codes, so
// their tiles take as many columns at once; with AVX2 there is one panel.
#if defined(FTC_ISA_avx2)
constexpr int kNf4Cols = 24, kMostNf4Units = 2;
#else
constexpr int kNf4Cols = 8, kMostNf4Units = kMostUnits;
#endif

// Whether so many rows are as fast as this: words of bf16 would have to be rounded as well. With AVX2 one panel of two
// units has to be all but full. slab_rows.h does the rest: from 29 rows on it is about as fast while a core runs one
// thread (0.9 to 1.0 times), and 1.2 to 1.4 times as fast while two share it, as this takes more instructions.
constexpr bool broadcasts_nf4([[maybe_unused]] int64_t rows) {
#if defined(FTC_ISA_avx2)
    return rows > 12 && rows <= 16;
#else
    return FTC_NF4_VECTORS && kWordDepths == 1;
#endif
}

// kNf4Cols rows of NF4 from the block of depth on, and where as many codes lie that are wanted soon.
struct Nf4Rows {
    const float* quant_map;
    const uint8_t* codes[kNf4Cols];
    const float* absmax[kNf4Cols];
    int64_t next;  // bytes further on
    float* values; // scratch: what the first tile made of the codes, kNf4Cols rows; with AVX2 not used
    float nested[kNf4Cols][kMostWords / 64]; // absmax, where it is quantised itself
};

#if defined(FTC_ISA_avx2)

// Sixteen registers leave no room for decoding beside the sums, and its shuffles share ports with the multiply-adds. So
// no value is decoded: every block of 64 gets a table of its sixteen values times absmax, and a value is broadcast from
// there, by its code. That takes loads and a few integer instructions only.
constexpr int64_t kCodedFloats = 32; // a block: the table, then a byte for each code

[[gnu::always_inline]] inline void code_block(float* to, const uint8_t* codes, const float* quant_map, float absmax) {
    store(to, mul(load(quant_map), broadcast(absmax)));
    store(to + 8, mul(load(quant_map + 8), broadcast(absmax)));
    const __m128i four_bits = _mm_set1_epi8(0x0f);
    for (int half = 0; half < 2; half++) {
        const __m128i pairs = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes) + half);
        const __m128i first = _mm_and_si128(_mm_srli_epi16(pairs, 4), four_bits),
                      second = _mm_and_si128(pairs, four_bits);
        __m128i* bytes = reinterpret_cast<__m128i*>(to + 16) + 2 * half;
        _mm_storeu_si128(bytes, _mm_unpacklo_epi8(first, second));
        _mm_storeu_si128(bytes + 1, _mm_unpackhi_epi8(first, second));
    }
}

// A function by itself: anything more in it, and g++ spills sums in the innermost loop. A code comes from memory for
// every other column and from a register for the rest: either way alone is slower, by loads or by instructions.
template <class V, int Vecs, int Cols>
[[gnu::noinline]] void run_coded_columns(const BroadcastTile& t, int column) {
    constexpr int kRows = Vecs * kLanes;
    const Nf4Rows& rows = *t.nf4;
    const float* quant_map = rows.quant_map;
    const int64_t blocks = t.words / 64, next = rows.next;
    const uint8_t* const* codes = rows.codes + column;
    const float* const* absmax = rows.absmax + column;
    alignas(64) float both[2][Cols * kCodedFloats]; // of a block and of the next
    const float* a = t.a;
    Vec sum[Cols][Vecs];
    for (auto& of_column : sum)
        for (Vec& x : of_column) x = zero();
    for (int j = 0; j < Cols; j++) code_block(both[0] + j * kCodedFloats, codes[j], quant_map, absmax[j][0]);
    for (int64_t block = 0; block < blocks; block++) {
        const float* const coded = both[block % 2];
        if (block + 1 < blocks) {
            for (int j = 0; j < Cols; j++) {
                const uint8_t* of_next = codes[j] + (block + 1) * 32;
                __builtin_prefetch(of_next + next, 0, 2);
                code_block(both[(block + 1) % 2] + j * kCodedFloats, of_next, quant_map, absmax[j][block + 1]);
            }
        }
        for (int k = 0; k < 64; k += 8) {
            const uint8_t* bytes = reinterpret_cast<const uint8_t*>(coded + 16) + k;
            constexpr int64_t kColumnBytes = kCodedFloats * 4;
            uint64_t eight[Cols];
            for (int j = 0; j < Cols; j += 2) __builtin_memcpy(&eight[j], bytes + j * kColumnBytes, 8);
#pragma GCC unroll 8
            for (int d = 0; d < 8; d++, a += kRows) {
                Vec x[Vecs];
                for (int v = 0; v < Vecs; v++) {
                    x[v] = load(a + v * kLanes);
                    __asm__("" : "+x"(x[v])); // one load, not one with every multiply-add
                }
#pragma GCC unroll 8
                for (int j = 0; j < Cols; j++) {
                    const int64_t code =
                        j % 2 == 0 ? static_cast<int64_t>(eight[j] & 0xff) : bytes[j * kColumnBytes + d];
                    if (j % 2 == 0) eight[j] >>= 8;
                    const Vec value = broadcast(coded[j * kCodedFloats + code]);
#pragma GCC unroll 4
                    for (int v = 0; v < Vecs; v++) sum[j][v] = fma(value, x[v], sum[j][v]);
                }
            }
        }
    }
    BroadcastSums<V, Vecs, Cols> sums;
    for (int j = 0; j < Cols; j++)
        for (int v = 0; v < Vecs; v++) sums.sum[j][v] = sum[j][v];
    sums.finish(t, column);
}

template <class V, int Vecs, int Cols>
void run_broadcast_tile_nf4(const BroadcastTile& t) {
    static_assert(kNf4Cols % Cols == 0);
    for (int column = 0; column < t.cols; column += Cols) run_coded_columns<V, Vecs, Cols>(t, column);
}

#elif FTC_NF4_VECTORS

constexpr int64_t kDecodedBlock = kNf4Cols * 64;

[[gnu::always_inline]] inline void decode_block(const Nf4Rows& rows, const Nf4Table& table, int64_t row,
                                                int64_t block) {
    const uint8_t* codes = rows.codes[row] + block * 32;
    __builtin_prefetch(codes + rows.next, 0, 2);
    nf4_decode_transposed(rows.values + block * kDecodedBlock + row * 64, codes, table, rows.absmax[row][block]);
}

// The same over a decoded block at a time; Decodes: each along with the multiply-adds of the one before.
template <class V, int Vecs, int Cols, bool Decodes>
[[gnu::always_inline]] inline void run_decoded_blocks(const BroadcastTile& t) {
    constexpr int kRows = BroadcastSums<V, Vecs, Cols>::kRows;
    const Nf4Rows& rows = *t.nf4;
    const Nf4Table table = nf4_table(rows.quant_map);
    const int64_t blocks = t.words / 64;
    for (int column = 0; column < kNf4Cols; column += Cols) {
        if (Decodes)
            for (int j = 0; j < Cols; j++) decode_block(rows, table, column + j, 0);
        BroadcastSums<V, Vecs, Cols> sums;
        const float* b = rows.values + column * 64;
        const float* a = t.a;
        for (int64_t block = 0; block < blocks; block++, b += kDecodedBlock) {
            for (int i = 0; i < 8; i++) {
                if (Decodes && block + 1 < blocks && i % (8 / Cols) == 0)
                    decode_block(rows, table, column + i / (8 / Cols), block + 1);
#pragma GCC unroll 8
                for (int j = 0; j < 8; j++) sums.add_word(a + j * kRows, b + 8 * j + i, 64);
                a += 8 * kRows;
            }
        }
        sums.finish(t, column);
    }
}

template <class V, int Vecs, int Cols>
void run_broadcast_tile_nf4(const BroadcastTile& t) {
    if (t.prefetch)
        run_decoded_blocks<V, Vecs, Cols, true>(t);
    else
        run_decoded_blocks<V, Vecs, Cols, false>(t);
}

#endif

// [units - 1]
#if defined(FTC_ISA_avx512) && !defined(FTC_ISA_avx512bf16)
constexpr RunBroadcastTile kBroadcastTilesNf4[kMostNf4Units] = {
    run_broadcast_tile_nf4<NarrowVec, 1, 8>, run_broadcast_tile_nf4<Vec, 1, 8>, run_broadcast_tile_nf4<NarrowVec, 3, 8>,
    run_broadcast_tile_nf4<Vec, 2, 8>};
#elif defined(FTC_ISA_avx2) // broadcasts_nf4 asks for no single unit
constexpr RunBroadcastTile kBroadcastTilesNf4[kMostNf4Units] = {nullptr, run_broadcast_tile_nf4<Vec, 2, 6>};
#elif FTC_NF4_VECTORS
constexpr RunBroadcastTile kBroadcastTilesNf4[kMostNf4Units] = {
    run_broadcast_tile_nf4<Vec, 1, 8>, run_broadcast_tile_nf4<Vec, 2, 4>, run_broadcast_tile_nf4<Vec, 3, 4>};
#else
constexpr RunBroadcastTile kBroadcastTilesNf4[kMostNf4Units] = {}; // never asked for
#endif

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
