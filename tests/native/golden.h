// Reads tests/golden/**/*.txt ("name kind count", then values; floats as hexadecimal bits) and the shared test data.
#pragma once

#include "variants.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace ftc::testing {

struct Golden {
    std::map<std::string, Vector<float>> f32;
    std::map<std::string, Vector<uint8_t>> u8;
};

inline Golden read_golden(const std::string& path) {
    std::ifstream file(std::string(FTC_REPOSITORY_ROOT) + "/tests/golden/" + path);
    EXPECT_TRUE(file.good()) << path;
    Golden golden;
    std::string name, kind;
    size_t count = 0;
    while (file >> name >> kind >> count) {
        for (size_t i = 0; i < count; i++) {
            std::string value;
            file >> value;
            if (kind == "f32")
                golden.f32[name].push_back(std::bit_cast<float>(static_cast<uint32_t>(std::stoul(value, nullptr, 16))));
            else
                golden.u8[name].push_back(static_cast<uint8_t>(std::stoi(value)));
        }
    }
    return golden;
}

// Folder of the shared test data: FTC_TEST_DATA, else ../shared/data beside the repository; "" when there is none.
inline std::string test_data() {
    const char* forced = std::getenv("FTC_TEST_DATA");
    const std::string folder = forced != nullptr ? forced : std::string(FTC_REPOSITORY_ROOT) + "/../shared/data";
    return std::filesystem::is_directory(folder) ? folder : "";
}

// The tensors of a small .safetensors file as bytes; only what tests need: names and data_offsets.
class Tensors {
public:
    explicit Tensors(const std::string& path) {
        std::ifstream file(path, std::ios::binary);
        std::stringstream all;
        all << file.rdbuf();
        bytes_ = all.str();
        uint64_t header = 0;
        std::memcpy(&header, bytes_.data(), sizeof(header));
        header_ = bytes_.substr(8, header);
        data_ = 8 + header;
    }

    Vector<std::string> names_ending(const std::string& suffix) const {
        Vector<std::string> names;
        for (size_t at = header_.find(suffix + "\""); at != std::string::npos;
             at = header_.find(suffix + "\"", at + 1)) {
            const size_t start = header_.rfind('"', at) + 1;
            names.push_back(header_.substr(start, at + suffix.size() - start));
        }
        return names;
    }

    template <class T>
    Vector<T> read(const std::string& name) const {
        const size_t at = header_.find("\"" + name + "\"");
        EXPECT_NE(at, std::string::npos) << name;
        const size_t offsets = header_.find("data_offsets", at);
        unsigned long long begin = 0, end = 0;
        const size_t bracket = header_.find('[', offsets);
        std::sscanf(header_.c_str() + bracket, "[%llu, %llu]", &begin, &end);
        Vector<T> values((end - begin) / sizeof(T));
        std::memcpy(values.data(), bytes_.data() + data_ + begin, end - begin);
        return values;
    }

private:
    std::string bytes_, header_;
    size_t data_ = 0;
};

} // namespace ftc::testing
