// int8, multiplied packed.
#include "ops/linear/affine_format.cuh"
#include "ops/linear/packed_decode.cuh"
#include "ops/linear/packed_product.cuh"

namespace ftc::cuda {

void packed_product_int8(ftc_stream& stream, const PackedProduct& args, bool backward) {
    run_product<Int8Format>(stream, args, backward);
}
void packed_decode_int8(ftc_stream& stream, const PackedDecode& args) {
    run_decode<Int8Format>(stream, args);
}

} // namespace ftc::cuda
