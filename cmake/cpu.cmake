# The CPU library `ftc`, its tests and its benchmarks.
if(FTC_ARCHITECTURE STREQUAL x86) # NEON needs no more than the compiler's own vectors
  find_path(FTC_HIGHWAY_INCLUDE hwy/highway.h NO_CMAKE_FIND_ROOT_PATH)
  if(NOT FTC_HIGHWAY_INCLUDE)
    message(FATAL_ERROR "hwy/highway.h was not found. Install Highway 1.0.3 or newer (Debian: apt-get install libhwy-dev).")
  endif()
  if(CMAKE_CROSSCOMPILING) # alone: beside it lie headers of this system
    set(alone ${CMAKE_CURRENT_BINARY_DIR}/highway)
    if(NOT EXISTS ${alone}/hwy)
      file(MAKE_DIRECTORY ${alone})
      file(CREATE_LINK ${FTC_HIGHWAY_INCLUDE}/hwy ${alone}/hwy SYMBOLIC)
    endif()
    set(FTC_HIGHWAY_INCLUDE ${alone} CACHE PATH "" FORCE)
  endif()
endif()

# Kernel units (*_cpu.cpp) once per ISA; everything else once, but *_linux, *_windows, *_x86 and *_arm64 only there.
# AVX512-BF16 has units of its own and, of the others, those that multiply bf16.
file(GLOB kernel_sources CONFIGURE_DEPENDS src/core/*_cpu.cpp src/ops/*/*_cpu.cpp)
file(GLOB bf16_sources CONFIGURE_DEPENDS src/ops/*/*_avx512bf16.cpp)
list(APPEND bf16_sources src/ops/linear/linear_cpu.cpp src/ops/linear/gemm_cpu.cpp src/ops/linear/few_rows_cpu.cpp
            src/ops/peak/peak_cpu.cpp)
file(GLOB base_sources CONFIGURE_DEPENDS src/api/*.cpp src/cpu/*.cpp src/core/*.cpp src/ops/*/*.cpp)
list(FILTER base_sources EXCLUDE REGEX "_(cpu|avx512bf16|${FTC_OTHER_SYSTEM}|${FTC_OTHER_ARCHITECTURE})\\.cpp$")

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
if(WIN32)
  set_target_properties(ftc PROPERTIES PREFIX "")
  target_link_libraries(ftc PRIVATE synchronization)
  target_link_options(ftc PRIVATE -static -Wl,--no-insert-timestamp)
elseif(NOT FTC_SANITIZE)
  target_link_options(ftc PRIVATE -static-libstdc++ -static-libgcc -Wl,--no-undefined
                      -Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/ftc.map)
  set_target_properties(ftc PROPERTIES LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/ftc.map)
endif()
if(NOT FTC_SANITIZE)
  add_custom_command(TARGET ftc POST_BUILD
    COMMAND ${CMAKE_COMMAND} -E env NM=${CMAKE_NM} OBJDUMP=${CMAKE_OBJDUMP} "FTC_ISAS=${FTC_ISAS}"
            bash ${FTC_ROOT}/cmake/check_library.sh $<TARGET_FILE:ftc> ${CMAKE_CURRENT_BINARY_DIR}
    VERBATIM COMMENT "Checking exports, what it links and kernel units of $<TARGET_FILE_NAME:ftc>")
endif()

if(FTC_BUILD_TESTS)
  include(${FTC_ROOT}/cmake/googletest.cmake)
  file(GLOB_RECURSE test_sources CONFIGURE_DEPENDS ${FTC_ROOT}/tests/native/api/*.cpp ${FTC_ROOT}/tests/native/core/*.cpp)
  foreach(name allocation_counter.cpp variants_cpu.cpp)
    list(APPEND test_sources ${FTC_ROOT}/tests/native/${name})
  endforeach()
  if(WIN32)
    list(FILTER test_sources EXCLUDE REGEX "machine_limits_test\\.cpp$") # of Linux' files
  else()
    list(APPEND test_sources ${FTC_ROOT}/tests/native/ops/far_rows_test.cpp) # maps more memory than there is
  endif()
  add_executable(ftc_tests ${test_sources} $<TARGET_OBJECTS:ftc_op_tests> ${ftc_objects})
  ftc_configure(ftc_tests)
  target_include_directories(ftc_tests PRIVATE ${FTC_ROOT}/tests/native)
  target_compile_options(ftc_tests PRIVATE -O1)
  target_compile_definitions(ftc_tests PRIVATE FTC_REPOSITORY_ROOT="${FTC_ROOT}")
  target_link_libraries(ftc_tests PRIVATE GTest::gtest GTest::gtest_main Threads::Threads)
  if(WIN32)
    target_compile_definitions(ftc_tests PRIVATE FTC_BUILDING) # the library's objects, not its DLL
    target_link_libraries(ftc_tests PRIVATE synchronization)
    target_link_options(ftc_tests PRIVATE -static)
  endif()
  add_test(NAME ftc_tests COMMAND ftc_tests)
endif()

if(FTC_BUILD_BENCHMARKS AND NOT FTC_SANITIZE)
  add_executable(ftc_bench ${FTC_ROOT}/benchmarks/native/ftc_bench.cpp)
  ftc_configure(ftc_bench)
  target_link_libraries(ftc_bench PRIVATE ftc)
  add_executable(ftc_ops_bench ${FTC_ROOT}/benchmarks/native/ops_bench.cpp)
  ftc_configure(ftc_ops_bench)
  target_link_libraries(ftc_ops_bench PRIVATE ftc)
  add_executable(ftc_call_bench ${FTC_ROOT}/benchmarks/native/call_bench.cpp)
  ftc_configure(ftc_call_bench)
  target_link_libraries(ftc_call_bench PRIVATE ftc)
endif()
