# The simulator and its own tests, program `simt_tests`.
# Not under sanitizers: the simulator takes the place of one.
if(FTC_SANITIZE OR NOT FTC_BUILD_SIMULATOR)
  return()
endif()
add_subdirectory(sim)

if(FTC_BUILD_TESTS)
  include(${FTC_ROOT}/cmake/googletest.cmake)
  file(GLOB simt_test_sources CONFIGURE_DEPENDS ${FTC_ROOT}/tests/native/sim/*.cu)
  simt_add_kernels(simt_test_kernels ${simt_test_sources})
  target_include_directories(simt_test_kernels PRIVATE ${FTC_ROOT}/tests/native/sim)
  target_compile_options(simt_test_kernels PRIVATE -Wall -Wextra -Werror)
  target_link_libraries(simt_test_kernels PRIVATE GTest::gtest)
  add_executable(simt_tests $<TARGET_OBJECTS:simt_test_kernels>)
  target_link_libraries(simt_tests PRIVATE simt GTest::gtest GTest::gtest_main)
  add_test(NAME simt_tests COMMAND simt_tests)
endif()
