// ptx_conformance --write|--check FILE: what every wrapper of cuda/device.cuh leaves in every lane's registers for fixed
// inputs. The simulator writes the file, where it is golden; a GPU's build of the same source is held against it, so that
// kernels proved on the simulator stand on the same instructions. Moves and roundings must agree bit for bit, sums of mma on
// small whole numbers too; sums in another order and the special-function unit within the tolerance beside them.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>

#include "ptx/conformance.h"

using namespace ftc::ptx;
using ftc::cuda::check;

namespace {

// Whether this device has the instructions of sm_90a, which no later one has.
bool has_sm90a() {
#if defined(FTC_SIM)
    return true;
#else
    int major = 0, minor = 0;
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "cudaDeviceGetAttribute");
    check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0), "cudaDeviceGetAttribute");
    return major == 9 && minor == 0;
#endif
}

std::vector<const Case*> all() {
    std::vector<const Case*> list;
    for (const Case& c : cases()) list.push_back(&c);
    if (has_sm90a())
        for (const Case& c : cases_sm90a()) list.push_back(&c);
    return list;
}

std::vector<uint32_t> results(const Case& c) {
    std::vector<uint32_t> host(static_cast<size_t>(c.threads * kWords)), input(32 * 4);
    const size_t bytes = host.size() * sizeof(uint32_t);
    for (size_t i = 0; i < input.size(); i++) input[i] = static_cast<uint32_t>(i * 0x01010101u + 0x00010203u);
    void *out = nullptr, *in = nullptr;
    check(cudaMalloc(&out, bytes), "cudaMalloc");
    check(cudaMalloc(&in, input.size() * 4), "cudaMalloc");
    check(cudaMemcpy(in, input.data(), input.size() * 4, cudaMemcpyHostToDevice), "cudaMemcpy");
    check(cudaMemset(out, 0xcc, bytes), "cudaMemset");
    c.run(static_cast<uint32_t*>(out), static_cast<const uint4*>(in));
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    check(cudaMemcpy(host.data(), out, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
    cudaFree(out);
    cudaFree(in);
    return host;
}

float as_float(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof(x));
    return x;
}

bool close(uint32_t actual, uint32_t golden, float tolerance) {
    if (actual == golden) return true;
    const float a = as_float(actual), g = as_float(golden);
    return std::abs(a - g) <= tolerance * std::max(1e-3f, std::abs(g));
}

// Lines of the file: case, then the words of all lanes in hexadecimal.
std::map<std::string, std::vector<uint32_t>> read(const std::string& path) {
    std::map<std::string, std::vector<uint32_t>> stored;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string name;
        words >> name >> std::hex;
        for (uint32_t word; words >> word;) stored[name].push_back(word);
    }
    return stored;
}

int run(const std::string& mode, const std::string& path) {
    if (mode == "--write") {
        std::ofstream file(path);
        for (const Case* c : all()) {
            file << c->name;
            for (const uint32_t word : results(*c)) file << ' ' << std::hex << word;
            file << '\n';
        }
        return file.good() ? 0 : 1;
    }
    const auto stored = read(path);
    int passed = 0, failed = 0;
    const int skipped = has_sm90a() ? 0 : static_cast<int>(cases_sm90a().size());
    if (skipped > 0) std::printf("this GPU is not of compute capability 9.0: the instructions of sm_90a are not tried\n");
    for (const Case* each : all()) {
        const Case& c = *each;
        const auto golden = stored.find(c.name);
        if (golden == stored.end() || golden->second.size() != static_cast<size_t>(c.threads * kWords)) {
            std::cout << c.name << ": not in " << path << "\n";
            failed++;
            continue;
        }
        const std::vector<uint32_t> actual = results(c);
        int wrong = 0;
        for (size_t i = 0; i < actual.size(); i++)
            if (!close(actual[i], golden->second[i], c.tolerance) && wrong++ < 3)
                std::printf("%s: lane %zu, word %zu is %08x (%g), expected %08x (%g)\n", c.name, i / kWords, i % kWords, actual[i],
                            static_cast<double>(as_float(actual[i])), golden->second[i], static_cast<double>(as_float(golden->second[i])));
        wrong == 0 ? passed++ : failed++;
    }
    std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    const std::string mode = argc == 3 ? argv[1] : "";
    if (mode != "--write" && mode != "--check") {
        std::fprintf(stderr, "usage: ptx_conformance --write|--check FILE\n");
        return 2;
    }
    try {
        return run(mode, argv[2]);
    } catch (const ftc::Error& error) {
        std::fprintf(stderr, "ptx_conformance: %s\n", error.message);
        return 1;
    }
}
