# GTest::gtest and GTest::gtest_main: the installed ones, or from FTC_GOOGLETEST, the folder `googletest` of GoogleTest's sources.
# And ftc_op_tests, the objects of tests/native/ops: they know ftc.h alone, so every library is tested by the same ones.
include_guard(GLOBAL)
set(FTC_GOOGLETEST "" CACHE PATH "Sources of GoogleTest (the folder with src/gtest-all.cc); empty: the installed library")
if(FTC_GOOGLETEST)
  find_package(Threads REQUIRED)
  add_library(gtest STATIC ${FTC_GOOGLETEST}/src/gtest-all.cc)
  add_library(gtest_main STATIC ${FTC_GOOGLETEST}/src/gtest_main.cc)
  foreach(name gtest gtest_main)
    target_include_directories(${name} SYSTEM PUBLIC ${FTC_GOOGLETEST}/include PRIVATE ${FTC_GOOGLETEST})
    target_link_libraries(${name} PUBLIC Threads::Threads)
    add_library(GTest::${name} ALIAS ${name})
  endforeach()
else()
  find_package(GTest REQUIRED)
endif()

file(GLOB_RECURSE op_test_sources CONFIGURE_DEPENDS ${FTC_ROOT}/tests/native/ops/*.cpp)
list(FILTER op_test_sources EXCLUDE REGEX "far_rows_test\\.cpp$") # of the CPU library, on memory of its own
add_library(ftc_op_tests OBJECT ${op_test_sources})
ftc_configure(ftc_op_tests)
target_include_directories(ftc_op_tests PRIVATE ${FTC_ROOT}/tests/native)
target_compile_options(ftc_op_tests PRIVATE -O1)
target_compile_definitions(ftc_op_tests PRIVATE FTC_REPOSITORY_ROOT="${FTC_ROOT}")
target_link_libraries(ftc_op_tests PRIVATE GTest::gtest)
if(WIN32)
  target_compile_definitions(ftc_op_tests PRIVATE FTC_BUILDING) # the library's objects, not its DLL
endif()
