// From a kernel and its arguments to a launch the runtime can queue.
#pragma once

#include <cstddef>
#include <memory>
#include <tuple>
#include <utility>

#include "simt/types.h"

struct simt_stream;
using cudaStream_t = simt_stream*;

namespace simt {

namespace detail {

// One launch, its arguments copied. `invoke` runs the kernel body once, in the calling thread of the grid.
struct LaunchRequest {
    const char* name;
    const void* kernel;
    dim3 grid, block;
    size_t shared_bytes;
    cudaStream_t stream;
    std::shared_ptr<void> arguments;
    void (*invoke)(const LaunchRequest& request);
};
void enqueue_launch(LaunchRequest request);

template <class... Parameters>
struct Invoker {
    using Tuple = std::tuple<Parameters...>;
    // The arguments' home is the simulator's, not the device's: not instrumented.
    __attribute__((no_sanitize("thread"))) static void invoke(const LaunchRequest& request) {
        call(request, std::index_sequence_for<Parameters...>());
    }
    template <size_t... I>
    __attribute__((no_sanitize("thread"), always_inline)) static void call(const LaunchRequest& request,
                                                                           std::index_sequence<I...>) {
        [[maybe_unused]] const Tuple& arguments = *static_cast<const Tuple*>(request.arguments.get());
        auto kernel = reinterpret_cast<void (*)(Parameters...)>(const_cast<void*>(request.kernel));
        kernel(std::get<I>(arguments)...);
    }
};

template <class T>
struct Same {
    using type = T;
};

} // namespace detail

template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            cudaStream_t stream, Arguments&&... arguments) {
    static_assert(sizeof...(Parameters) == sizeof...(Arguments),
                  "a kernel is launched with as many arguments as it has parameters");
    auto copies =
        std::make_shared<std::tuple<Parameters...>>(static_cast<Parameters>(std::forward<Arguments>(arguments))...);
    detail::enqueue_launch({name, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, stream,
                            std::move(copies), &detail::Invoker<Parameters...>::invoke});
}

} // namespace simt
