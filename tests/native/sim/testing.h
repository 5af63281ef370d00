// What the simulator's own tests share: memory that kernels see, and a run under every schedule.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "simt/control.h"
#include "simt/simt.h"

namespace simt::testing {

// Device memory, unwritten until put().
template <class T>
class Buffer {
public:
    explicit Buffer(size_t count) : count_(count) { EXPECT_EQ(cudaMalloc(&data_, count * sizeof(T)), cudaSuccess); }
    explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) { put(values); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { cudaFree(data_); }

    operator T*() const { return data_; }
    size_t size() const { return count_; }
    void put(const std::vector<T>& values) {
        EXPECT_EQ(cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
    }
    void fill(int byte) { EXPECT_EQ(cudaMemset(data_, byte, count_ * sizeof(T)), cudaSuccess); }
    std::vector<T> get() const {
        std::vector<T> values(count_);
        EXPECT_EQ(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess) << fault();
        return values;
    }

private:
    T* data_ = nullptr;
    size_t count_ = 0;
};

struct Order {
    const char* name;
    Schedule schedule;
    uint64_t seed;
};
inline const std::vector<Order>& orders() {
    static const std::vector<Order> all = {{"ordered", Schedule::ordered, 0},
                                           {"reversed", Schedule::reversed, 0},
                                           {"random 1", Schedule::random, 1},
                                           {"random 2", Schedule::random, 2}};
    return all;
}

// Runs body under every schedule, with one worker and with two, and expects no fault.
inline void everywhere(const std::function<void()>& body) {
    for (const Order& order : orders())
        for (const int workers : {1, 2}) {
            SCOPED_TRACE(std::string(order.name) + ", workers " + std::to_string(workers));
            set_schedule(order.schedule, order.seed);
            set_workers(workers);
            body();
            cudaDeviceSynchronize();
            EXPECT_EQ(fault(), "");
            reset_device();
        }
    set_schedule(Schedule::ordered);
}

// Runs body under every schedule and expects a fault whose text has every one of the words.
inline void expect_fault(const std::vector<std::string>& words, const std::function<void()>& body) {
    for (const Order& order : orders())
        for (const int workers : {1, 2}) {
            SCOPED_TRACE(std::string(order.name) + ", workers " + std::to_string(workers));
            set_schedule(order.schedule, order.seed);
            set_workers(workers);
            body();
            EXPECT_NE(cudaDeviceSynchronize(), cudaSuccess);
            const std::string text = fault();
            for (const std::string& word : words)
                EXPECT_NE(text.find(word), std::string::npos) << "\"" << word << "\" is missing in: " << text;
            reset_device();
        }
    set_schedule(Schedule::ordered);
}

} // namespace simt::testing
