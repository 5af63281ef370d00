// NF4, multiplied packed.
#include "ops/linear/nf4_format.cuh"
#include "ops/linear/packed_decode.cuh"
#include "ops/linear/packed_product.cuh"

namespace ftc::cuda {

void packed_product_nf4(ftc_stream& stream, const PackedProduct& args, bool backward) {
    run_product<Nf4Format>(stream, args, backward);
}
void packed_decode_nf4(ftc_stream& stream, const PackedDecode& args) {
    run_decode<Nf4Format>(stream, args);
}

} // namespace ftc::cuda
