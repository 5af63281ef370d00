// A step that takes its numbers from device memory does what the step with the same numbers in its params does; recorded
// once and launched with other numbers it still does. Recording refuses what cannot be part of it and survives that.
#include "everywhere.h"

namespace ftc::testing {
namespace {

bool captures(const Device& device) {
    ftc_context_info info{};
    info.struct_size = sizeof(info);
    EXPECT_EQ(ftc_context_get_info(device.context(), &info), FTC_OK) << ftc_last_error_message();
    return info.captures_graphs != 0;
}

// A linear layer with an adapter that drops, loss, backward, clipping, and an update by each optimiser, on its own memory.
class Step {
public:
    static constexpr int64_t kRows = 5, kHidden = 24, kVocab = 17, kRank = 3, kBlocks = 1;
    static constexpr int64_t kCount = kRank * kHidden * 2; // a, then b

    explicit Step(const Device& device) : device_(device) {
        linear_.struct_size = sizeof(linear_);
        linear_.rows = kRows;
        linear_.x_row_stride = linear_.y_row_stride = linear_.dx_row_stride = linear_.dy_row_stride = kHidden;
        linear_.dropout_samples = samples_.data();
        linear_.dropout_positions = positions_.data();
        for (int64_t i = 0; i < kRows; i++) {
            samples_[size_t(i)] = uint32_t(i / 2);
            positions_[size_t(i)] = uint32_t(i % 2);
            targets_[size_t(i)] = i == 2 ? FTC_IGNORE_INDEX : int32_t(i * 3);
        }
        loss_.struct_size = sizeof(loss_);
        loss_.rows = kRows;
        loss_.x_row_stride = loss_.dx_row_stride = kHidden;
        adamw_.struct_size = sizeof(adamw_);
        adamw_.beta1 = 0.9f;
        adamw_.beta2 = 0.999f;
        adamw_.eps = 1e-8f;
        adamw_.weight_decay = 0.1f;
        adamw_.count = kCount;
        sgd_.struct_size = sizeof(sgd_);
        sgd_.momentum = 0.9f;
        sgd_.count = kCount;
        for (int i = 0; i < 256; i++) {
            m_map_[size_t(i)] = static_cast<float>(2 * i - 255) / 255.0f;
            v_map_[size_t(i)] = static_cast<float>(i) / 255.0f;
        }
        ftc_linear_workspace_params shape{sizeof(shape), FTC_F32, FTC_WEIGHT_F32, 0, kRows, kHidden, kHidden, kRank};
        ftc_cross_entropy_workspace_params head{sizeof(head), FTC_F32, FTC_WEIGHT_F32, 0, kRows, kHidden, kVocab};
        int64_t bytes = 0, more = 0;
        EXPECT_EQ(ftc_linear_workspace_bytes(device.context(), &shape, &bytes), FTC_OK);
        EXPECT_EQ(ftc_linear_cross_entropy_workspace_bytes(device.context(), &head, &more), FTC_OK);
        workspace_.resize(static_cast<size_t>(std::max(bytes, more)));
    }

    // The numbers of step `number`, in the params or in device memory.
    void set(int number, bool in_memory) {
        const ftc_step_values values{.loss_scale = 0.25f * static_cast<float>(number),
                                     .dropout_step = static_cast<uint32_t>(number),
                                     .gradient_scale = 0.5f,
                                     .skip = 0};
        ftc_adamw_params numbers = adamw_;
        numbers.learning_rate = 0.01f * static_cast<float>(number);
        numbers.step = number;
        if (!in_memory) {
            linear_.dropout_step = values.dropout_step;
            loss_.gradient_scale = values.loss_scale;
            adamw_ = numbers;
            sgd_.learning_rate = numbers.learning_rate;
            return;
        }
        ftc_update_values update{};
        EXPECT_EQ(ftc_adamw_get_update_values(&update, &numbers), FTC_OK) << ftc_last_error_message();
        EXPECT_EQ(ftc_copy_from_host(device_, values_.data(), &values, sizeof(values)), FTC_OK);
        EXPECT_EQ(ftc_copy_from_host(device_, update_.data(), &update, sizeof(update)), FTC_OK);
        linear_.step_values = loss_.step_values = adamw_.step_values = sgd_.step_values = values_.data();
        adamw_.update_values = sgd_.update_values = update_.data();
        adamw_.step = 1; // not looked at
    }

    // Everything after the numbers are set; `gradient_scale` and `skip` are decided here.
    void enqueue(bool in_memory) {
        ftc_lora_segment segment{};
        segment.struct_size = sizeof(segment);
        segment.rank = kRank;
        segment.row_end = kRows;
        segment.a = p_.data();
        segment.b = p_.data() + kCount / 2;
        segment.s = s_.data();
        segment.da = g_.data();
        segment.db = g_.data() + kCount / 2;
        segment.scaling = 2.0f;
        segment.dropout_probability = 0.3f;
        segment.dropout_seed = 11;
        ftc_weight weight{};
        weight.struct_size = sizeof(weight);
        weight.rows = weight.cols = weight.row_stride = kHidden;
        weight.data = w_.data();
        ftc_weight head = weight;
        head.rows = kVocab;
        const auto ok = [](ftc_status status) { EXPECT_EQ(status, FTC_OK) << ftc_last_error_message(); };
        const auto bytes = static_cast<int64_t>(workspace_.size());
        ok(ftc_fill_zero(device_, g_.data(), kCount * 4));
        ok(ftc_linear_forward(device_, y_.data(), x_.data(), &weight, nullptr, &segment, 1, &linear_, workspace_.data(), bytes));
        ok(ftc_linear_cross_entropy(device_, nll_.data(), nullptr, dy_.data(), nullptr, y_.data(), &head, targets_.data(),
                                    &loss_, workspace_.data(), bytes));
        ok(ftc_linear_backward(device_, dx_.data(), nullptr, nullptr, dy_.data(), x_.data(), &weight, &segment, 1, &linear_,
                               workspace_.data(), bytes));
        ok(ftc_sum_of_squares(device_, sum_.data(), g_.data(), kCount));
        ok(ftc_clip_gradients(device_, values_.data(), sum_.data(), nll_.data(), kRows, kClip));
        if (!in_memory) { // as a host that asks would decide
            ok(ftc_stream_synchronize(device_));
            const double norm = std::sqrt(static_cast<double>(sum_[0]));
            adamw_.gradient_scale = sgd_.gradient_scale =
                static_cast<float>(std::min(1.0, static_cast<double>(kClip) / (norm + 1e-6)));
        }
        ok(ftc_adamw_step(device_, p_.data(), m_.data(), v_.data(), g_.data(), &adamw_));
        ok(ftc_adamw_8bit_step(device_, q_.data(), m_codes_.data(), v_codes_.data(), absmax_.data(), absmax_.data() + kBlocks,
                               g_.data(), m_map_.data(), v_map_.data(), &adamw_));
        ok(ftc_sgd_step(device_, r_.data(), u_.data(), g_.data(), &sgd_));
    }

    Outputs state() const {
        const auto matrix = [](const Vector<float>& values) {
            Matrix m(1, static_cast<int64_t>(values.size()));
            m.data = values;
            return m;
        };
        return {matrix(p_), matrix(m_), matrix(v_), matrix(q_), matrix(absmax_), matrix(r_), matrix(u_), matrix(nll_), matrix(sum_)};
    }
    void expect_equals(const Step& other, const std::string& what) const {
        expect_same_bits(state(), other.state(), what);
        EXPECT_EQ(m_codes_, other.m_codes_) << what;
        EXPECT_EQ(v_codes_, other.v_codes_) << what;
    }
    Vector<float>& x() { return x_; }
    const ftc_step_values& values() const { return values_[0]; }

private:
    static constexpr float kClip = 0.02f;

    const Device& device_;
    Vector<float> x_ = random_floats(kRows * kHidden, 1), w_ = random_floats(kHidden * kHidden, 2), p_ = random_floats(kCount, 3);
    Vector<float> q_ = p_, r_ = p_, m_ = Vector<float>(kCount), v_ = m_, u_ = m_, g_ = m_, s_ = Vector<float>(kRows * kRank);
    Vector<float> y_ = Vector<float>(kRows * kHidden), dy_ = y_, dx_ = y_, nll_ = Vector<float>(kRows), sum_ = Vector<float>(1);
    Vector<float> absmax_ = Vector<float>(2 * kBlocks), m_map_ = Vector<float>(256), v_map_ = Vector<float>(256);
    Vector<uint8_t> m_codes_ = Vector<uint8_t>(kCount), v_codes_ = Vector<uint8_t>(kCount), workspace_;
    Vector<uint32_t> samples_ = Vector<uint32_t>(kRows), positions_ = Vector<uint32_t>(kRows);
    Vector<int32_t> targets_ = Vector<int32_t>(kRows);
    Vector<ftc_step_values> values_ = Vector<ftc_step_values>(1);
    Vector<ftc_update_values> update_ = Vector<ftc_update_values>(1);
    ftc_linear_params linear_{};
    ftc_cross_entropy_params loss_{};
    ftc_adamw_params adamw_{};
    ftc_sgd_params sgd_{};
};

TEST(StepValues, InDeviceMemoryAreWorthTheParams) {
    for (const std::string& variant : variants()) {
        Device device(variant);
        Step params(device), memory(device);
        for (int number = 1; number <= 3; number++) {
            params.set(number, false);
            params.enqueue(false);
            memory.set(number, true);
            memory.enqueue(true);
            ASSERT_EQ(ftc_stream_synchronize(device), FTC_OK) << ftc_last_error_message();
            memory.expect_equals(params, variant + ", step " + std::to_string(number));
            EXPECT_LT(memory.values().gradient_scale, 1.0f) << "this test is meant to clip";
        }
    }
}

TEST(StepValues, AStepWithoutFiniteNumbersChangesNothing) {
    for (const std::string& variant : variants()) {
        Device device(variant);
        Step step(device);
        step.set(1, true);
        step.enqueue(true);
        ASSERT_EQ(ftc_stream_synchronize(device), FTC_OK) << ftc_last_error_message();
        const Outputs before = step.state();
        step.x()[0] = std::numeric_limits<float>::quiet_NaN();
        step.set(2, true);
        step.enqueue(true);
        ASSERT_EQ(ftc_stream_synchronize(device), FTC_OK) << ftc_last_error_message();
        EXPECT_NE(step.values().skip, 0);
        Outputs after = step.state();
        after[7] = before[7]; // losses and sum are of the new step
        after[8] = before[8];
        expect_same_bits(after, before, variant);
    }
}

TEST(StepValues, ClippingDecidesAsPyTorchDoes) {
    Device device;
    Vector<ftc_step_values> values(1);
    Vector<float> sum(1), nll(600, 1.0f);
    const auto decide = [&](float squares, float clip) {
        sum[0] = squares;
        EXPECT_EQ(device.wait(ftc_clip_gradients(device, values.data(), sum.data(), nll.data(), 600, clip)), FTC_OK)
            << ftc_last_error_message();
        return values[0];
    };
    EXPECT_EQ(decide(4.0f, 1.0f).gradient_scale, static_cast<float>(1.0 / (2.0 + 1e-6)));
    EXPECT_EQ(decide(4.0f, 0.0f).gradient_scale, 1.0f) << "0 is no clipping";
    EXPECT_EQ(decide(0.25f, 1.0f).gradient_scale, 1.0f) << "small gradients stay";
    EXPECT_EQ(values[0].skip, 0);
    EXPECT_EQ(decide(std::numeric_limits<float>::infinity(), 1.0f).skip, 1);
    nll[599] = std::numeric_limits<float>::infinity();
    EXPECT_EQ(decide(4.0f, 1.0f).skip, 1);
    nll[599] = 0.0f;
    EXPECT_EQ(decide(4.0f, 1.0f).skip, 0);
    EXPECT_EQ(ftc_clip_gradients(device, values.data(), sum.data(), nll.data(), 600, -1.0f), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_clip_gradients: clip_norm is -1, expected >= 0 (0: no clipping)");
}

TEST(StepValues, MustBeAligned) {
    Device device;
    Vector<float> x(8);
    Vector<ftc_step_values> values(2);
    ftc_sgd_params s{};
    s.struct_size = sizeof(s);
    s.count = 4;
    s.step_values = reinterpret_cast<const ftc_step_values*>(reinterpret_cast<const char*>(values.data()) + 4);
    EXPECT_EQ(ftc_sgd_step(device, x.data(), nullptr, x.data() + 4, &s), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_NE(std::string(ftc_last_error_message()).find("params->step_values"), std::string::npos) << ftc_last_error_message();
}

TEST(Graph, ReplaysWithTheNumbersOfEachStep) {
    for (const std::string& variant : variants()) {
        Device device(variant);
        if (!captures(device)) GTEST_SKIP() << "this library records no graphs";
        Step direct(device), recorded(device);
        ftc_graph* graph = nullptr;
        for (int number = 1; number <= 4; number++) {
            direct.set(number, true);
            direct.enqueue(true);
            recorded.set(number, true);
            if (number == 1) { // run once as it is: what a first call prepares cannot be recorded
                recorded.enqueue(true);
            } else if (number == 2) {
                const Outputs before = recorded.state();
                ASSERT_EQ(ftc_stream_begin_capture(device), FTC_OK) << ftc_last_error_message();
                recorded.enqueue(true);
                ASSERT_EQ(ftc_stream_end_capture(device, &graph), FTC_OK) << ftc_last_error_message();
                ASSERT_EQ(ftc_stream_synchronize(device), FTC_OK) << ftc_last_error_message();
                expect_same_bits(recorded.state(), before, "recording runs nothing");
            }
            if (number > 1) {
                ASSERT_EQ(ftc_graph_launch(device, graph), FTC_OK) << ftc_last_error_message();
            }
            ASSERT_EQ(ftc_stream_synchronize(device), FTC_OK) << ftc_last_error_message();
            recorded.expect_equals(direct, variant + ", step " + std::to_string(number));
        }
        ftc_graph_destroy(graph);
    }
}

TEST(Graph, RecordingRefusesWhatCannotBePartOfItAndGoesOn) {
    Device device;
    ftc_graph* graph = nullptr;
    Vector<float> y(4, 1.0f);
    if (!captures(device)) {
        EXPECT_EQ(ftc_stream_begin_capture(device), FTC_ERROR_UNSUPPORTED);
        EXPECT_EQ(std::string(ftc_last_error_message()).rfind("ftc_stream_begin_capture: the CPU library", 0), 0U)
            << ftc_last_error_message();
        EXPECT_EQ(ftc_stream_end_capture(device, &graph), FTC_ERROR_UNSUPPORTED);
        EXPECT_EQ(graph, nullptr);
        return;
    }
    const auto refused = [](ftc_status status, const char* function) {
        EXPECT_EQ(status, FTC_ERROR_INVALID_ARGUMENT) << function;
        EXPECT_EQ(std::string(ftc_last_error_message()).rfind(std::string(function) + ": work is being recorded", 0), 0U)
            << ftc_last_error_message();
    };
    EXPECT_EQ(ftc_stream_end_capture(device, &graph), FTC_ERROR_INVALID_ARGUMENT);
    ASSERT_EQ(ftc_stream_begin_capture(device), FTC_OK) << ftc_last_error_message();
    ftc_buffer* buffer = nullptr;
    ftc_stream* other = nullptr;
    int64_t rows = -1;
    float host = 0.0f;
    refused(ftc_stream_begin_capture(device), "ftc_stream_begin_capture");
    refused(ftc_stream_synchronize(device), "ftc_stream_synchronize");
    refused(ftc_copy_from_host(device, y.data(), &host, 4), "ftc_copy_from_host");
    refused(ftc_copy_to_host(device, &host, y.data(), 4), "ftc_copy_to_host");
    refused(ftc_buffer_create(&buffer, device.context(), 64), "ftc_buffer_create");
    refused(ftc_stream_create(&other, device.context()), "ftc_stream_create");
    refused(ftc_linear_tune(device, &rows), "ftc_linear_tune");
    EXPECT_EQ(ftc_fill_zero(device, y.data(), 16), FTC_OK) << ftc_last_error_message();
    ASSERT_EQ(ftc_stream_end_capture(device, &graph), FTC_OK) << ftc_last_error_message();
    EXPECT_EQ(y[3], 1.0f) << "recorded, not run";
    ASSERT_EQ(device.wait(ftc_graph_launch(device, graph)), FTC_OK) << ftc_last_error_message();
    EXPECT_EQ(y[3], 0.0f);

    ASSERT_EQ(ftc_stream_create(&other, device.context()), FTC_OK);
    EXPECT_EQ(ftc_graph_launch(other, graph), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_NE(std::string(ftc_last_error_message()).find("another stream"), std::string::npos) << ftc_last_error_message();
    ftc_stream_destroy(other);
    ftc_graph_destroy(graph);
    ftc_graph_destroy(nullptr);
}

// A stream that goes while it records leaves the context usable.
TEST(Graph, AStreamMayGoWhileItRecords) {
    Device device;
    if (!captures(device)) GTEST_SKIP() << "this library records no graphs";
    ftc_stream* stream = nullptr;
    Vector<float> y(4, 1.0f);
    ASSERT_EQ(ftc_stream_create(&stream, device.context()), FTC_OK);
    ASSERT_EQ(ftc_stream_begin_capture(stream), FTC_OK);
    EXPECT_EQ(ftc_fill_zero(stream, y.data(), 16), FTC_OK);
    ftc_stream_destroy(stream);
    ASSERT_EQ(ftc_stream_synchronize(device), FTC_OK) << ftc_last_error_message();
    EXPECT_EQ(y[0], 1.0f);
}

} // namespace
} // namespace ftc::testing
