// Affine groups of 4 bits, multiplied packed.
#include "ops/linear/affine_format.cuh"
#include "ops/linear/packed_decode.cuh"
#include "ops/linear/packed_product.cuh"

namespace ftc::cuda {

void packed_product_affine4(ftc_stream& stream, const PackedProduct& args, bool backward) {
    run_product<AffineFormat<4>>(stream, args, backward);
}
void packed_decode_affine4(ftc_stream& stream, const PackedDecode& args) {
    run_decode<AffineFormat<4>>(stream, args);
}

} // namespace ftc::cuda
