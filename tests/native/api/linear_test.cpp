#include "ops/linear/linear_case.h"

namespace {

using namespace ftc::testing;

// A call that is right, to be spoilt one argument at a time.
class LinearErrors : public ::testing::Test {
protected:
    LinearErrors() {
        params_.struct_size = sizeof(params_);
        params_.rows = 2;
        params_.x_row_stride = params_.dx_row_stride = 3;
        params_.y_row_stride = params_.dy_row_stride = 4;
        segment_.struct_size = sizeof(segment_);
        segment_.rank = 1;
        segment_.row_end = 2;
        segment_.a = segment_.b = x_;
        segment_.s = y_;
        const ftc_linear_workspace_params shape = workspace_shape(weight_, 2, 1);
        EXPECT_EQ(ftc_linear_workspace_bytes(device_.context(), &shape, &bytes_), FTC_OK);
        workspace_.resize(static_cast<size_t>(bytes_ / 4));
    }

    ftc_status forward() {
        return ftc_linear_forward(device_, y_, x_, &weight_, nullptr, &segment_, 1, &params_, workspace_.data(),
                                  bytes_);
    }
    void expect_refused(ftc_status status, const char* message) {
        EXPECT_EQ(forward(), status);
        EXPECT_STREQ(ftc_last_error_message(), message);
    }

    Device device_;
    float x_[16] = {}, y_[16] = {};
    ftc_weight weight_ = f32_weight(x_, 4, 3, 3);
    ftc_linear_params params_{};
    ftc_lora_segment segment_{};
    int64_t bytes_ = 0;
    Vector<float> workspace_;
};

TEST_F(LinearErrors, TheUnspoiltCallIsAccepted) {
    EXPECT_EQ(forward(), FTC_OK) << ftc_last_error_message();
}

TEST_F(LinearErrors, NoRowsIsNoWork) {
    params_.rows = segment_.row_end = 0;
    EXPECT_EQ(forward(), FTC_OK) << ftc_last_error_message();
}

TEST_F(LinearErrors, Stride) {
    params_.y_row_stride = 3;
    expect_refused(FTC_ERROR_INVALID_ARGUMENT, "ftc_linear_forward: params->y_row_stride is 3, expected >= 4");
}

TEST_F(LinearErrors, Rank) {
    segment_.rank = 0;
    expect_refused(FTC_ERROR_INVALID_ARGUMENT, "ftc_linear_forward: segments[0].rank is 0, expected >= 1");
}

TEST_F(LinearErrors, SegmentRows) {
    segment_.row_end = 3;
    expect_refused(FTC_ERROR_INVALID_ARGUMENT,
                   "ftc_linear_forward: segments[0] covers rows [0, 3), expected them in [0, 2)");
}

TEST_F(LinearErrors, DropoutWithoutTokens) {
    segment_.dropout_probability = 0.5f;
    expect_refused(FTC_ERROR_INVALID_ARGUMENT,
                   "ftc_linear_forward: segments[0] drops features, but params->dropout_samples or "
                   "dropout_positions is NULL, expected pointers");
    segment_.dropout_probability = 1.0f;
    expect_refused(FTC_ERROR_INVALID_ARGUMENT,
                   "ftc_linear_forward: segments[0].dropout_probability is 1, expected [0, 1)");
}

TEST_F(LinearErrors, Dtype) {
    params_.dtype = FTC_F16;
    expect_refused(FTC_ERROR_UNSUPPORTED, "ftc_linear_forward: dtype is FTC_F16, expected FTC_F32 or FTC_BF16: no op "
                                          "computes in fp16");
}

TEST_F(LinearErrors, Workspace) {
    const std::string needed = std::to_string(bytes_);
    bytes_ -= 4;
    expect_refused(FTC_ERROR_INVALID_ARGUMENT, ("ftc_linear_forward: workspace has " + std::to_string(bytes_) +
                                                " bytes, expected >= " + needed + " (ftc_linear_workspace_bytes)")
                                                   .c_str());
}

TEST_F(LinearErrors, OverlappingSegments) {
    const ftc_lora_segment two[2] = {segment_, segment_};
    EXPECT_EQ(ftc_linear_forward(device_, y_, x_, &weight_, nullptr, two, 2, &params_, workspace_.data(), bytes_),
              FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(),
                 "ftc_linear_forward: segments[0] and segments[1] overlap, expected disjoint rows");
}

TEST(LinearLayout, AvoidsStridesOfWholePages) {
    const Device device;
    ftc_linear_layout layout{};
    layout.struct_size = sizeof(layout);
    ASSERT_EQ(ftc_linear_get_layout(device.context(), 4096, 576, 16, FTC_F32, &layout), FTC_OK)
        << ftc_last_error_message();
    EXPECT_EQ(layout.x_row_stride, 4112);
    EXPECT_EQ(layout.weight_row_stride, 4112);
    EXPECT_EQ(layout.y_row_stride, 576);
    ASSERT_EQ(ftc_linear_get_layout(device.context(), 4096, 1024, 16, FTC_BF16, &layout), FTC_OK);
    EXPECT_EQ(layout.x_row_stride, 4128);
    EXPECT_EQ(layout.y_row_stride, 1024);
}

} // namespace
