# The CPU library `ftc`, its tests and its benchmarks.
find_path(FTC_HIGHWAY_INCLUDE hwy/highway.h)
if(NOT FTC_HIGHWAY_INCLUDE)
  message(FATAL_ERROR "hwy/highway.h was not found. Install Highway 1.0.3 or newer (Debian: apt-get install libhwy-dev).")
endif()
include_directories(SYSTEM ${FTC_HIGHWAY_INCLUDE})

# Kernel units (*_cpu.cpp) once per ISA; everything else once. AVX512-BF16 has units of its own and, of the others, those
# that multiply bf16.
file(GLOB kernel_sources CONFIGURE_DEPENDS src/core/*_cpu.cpp src/ops/*/*_cpu.cpp)
file(GLOB bf16_sources CONFIGURE_DEPENDS src/ops/*/*_avx512bf16.cpp)
list(APPEND bf16_sources src/ops/linear/linear_cpu.cpp src/ops/linear/gemm_cpu.cpp src/ops/linear/few_rows_cpu.cpp
            src/ops/peak/peak_cpu.cpp)
file(GLOB base_sources CONFIGURE_DEPENDS src/api/*.cpp src/cpu/*.cpp src/core/*.cpp src/ops/*/*.cpp)
list(FILTER base_sources EXCLUDE REGEX "_(cpu|avx512bf16)\\.cpp$")

add_library(ftc_base OBJECT ${base_sources})
target_compile_definitions(ftc_base PRIVATE FTC_BUILDING)
target_compile_options(ftc_base PRIVATE -ffp-contract=off)
ftc_configure(ftc_base)
set(ftc_objects $<TARGET_OBJECTS:ftc_base>)
foreach(isa IN LISTS FTC_ISAS)
  if(isa STREQUAL avx512bf16)
    ftc_add_isa_library(ftc_${isa} ${isa} ${bf16_sources})
  else()
    ftc_add_isa_library(ftc_${isa} ${isa} ${kernel_sources})
  endif()
  list(APPEND ftc_objects $<TARGET_OBJECTS:ftc_${isa}>)
endforeach()

add_library(ftc SHARED ${ftc_objects})
target_link_libraries(ftc PRIVATE Threads::Threads)
if(NOT FTC_SANITIZE)
  target_link_options(ftc PRIVATE -static-libstdc++ -static-libgcc -Wl,--no-undefined
                      -Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/ftc.map)
  set_target_properties(ftc PROPERTIES LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/ftc.map)
  add_custom_command(TARGET ftc POST_BUILD
    COMMAND ${CMAKE_COMMAND} -E env bash ${FTC_ROOT}/cmake/check_library.sh $<TARGET_FILE:ftc> ${CMAKE_CURRENT_BINARY_DIR}
    VERBATIM COMMENT "Checking exports, GLIBC version and kernel units of libftc.so")
endif()

if(FTC_BUILD_TESTS)
  include(${FTC_ROOT}/cmake/googletest.cmake)
  file(GLOB_RECURSE test_sources CONFIGURE_DEPENDS ${FTC_ROOT}/tests/native/api/*.cpp ${FTC_ROOT}/tests/native/core/*.cpp)
  foreach(name allocation_counter.cpp variants_cpu.cpp ops/far_rows_test.cpp)
    list(APPEND test_sources ${FTC_ROOT}/tests/native/${name})
  endforeach()
  add_executable(ftc_tests ${test_sources} $<TARGET_OBJECTS:ftc_op_tests> ${ftc_objects})
  ftc_configure(ftc_tests)
  target_include_directories(ftc_tests PRIVATE ${FTC_ROOT}/tests/native)
  target_compile_options(ftc_tests PRIVATE -O1)
  target_compile_definitions(ftc_tests PRIVATE FTC_REPOSITORY_ROOT="${FTC_ROOT}")
  target_link_libraries(ftc_tests PRIVATE GTest::gtest GTest::gtest_main Threads::Threads)
  add_test(NAME ftc_tests COMMAND ftc_tests)
endif()

if(FTC_BUILD_BENCHMARKS AND NOT FTC_SANITIZE)
  add_executable(ftc_bench ${FTC_ROOT}/benchmarks/native/ftc_bench.cpp)
  ftc_configure(ftc_bench)
  target_link_libraries(ftc_bench PRIVATE ftc)
  add_executable(ftc_ops_bench ${FTC_ROOT}/benchmarks/native/ops_bench.cpp)
  ftc_configure(ftc_ops_bench)
  target_link_libraries(ftc_ops_bench PRIVATE ftc)
endif()
