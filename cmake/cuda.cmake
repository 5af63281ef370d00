# The CUDA libraries: `ftc_cuda` by nvcc where there is one, and `ftc_cuda_sim`, the same sources by g++ on the simulator.
#
# FTC_CUDA=AUTO builds ftc_cuda when nvcc is found and otherwise says that only the simulator runs; ON insists; OFF leaves it out.
include(${CMAKE_CURRENT_LIST_DIR}/find_nvcc.cmake)
set(FTC_CUDA AUTO CACHE STRING "Build the CUDA library: AUTO, ON or OFF")
set(FTC_CUDA_ARCHITECTURES 80 86 89 90 CACHE STRING "Architectures (without sm_) that kernels are assembled for")
if(NOT FTC_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "FTC_CUDA is ${FTC_CUDA}, expected AUTO, ON or OFF")
endif()

set(FTC_NVCC FALSE)
if(NOT FTC_CUDA STREQUAL OFF)
  if(NOT CMAKE_CUDA_COMPILER)
    ftc_find_nvcc(CMAKE_CUDA_COMPILER nvcc_version)
  endif()
  if(CMAKE_CUDA_COMPILER)
    set(FTC_NVCC TRUE)
  elseif(FTC_CUDA STREQUAL ON)
    message(FATAL_ERROR "FTC_CUDA=ON, but no nvcc 12.4 or newer was found (newest seen: ${nvcc_version}). "
                        "Point CUDACXX at one, or on Debian 12 as root: bash cmake/install-cuda-debian.sh")
  else()
    message(NOTICE "No nvcc 12.4 or newer: the CUDA kernels run on the simulator only. To build them: FTC_CUDA=ON ./build.sh native")
  endif()
endif()

file(GLOB cuda_host_sources CONFIGURE_DEPENDS src/api/*.cpp src/cuda/*.cpp)
list(APPEND cuda_host_sources src/core/status.cpp src/core/machine_limits_linux.cpp src/core/host_memory.cpp)
file(GLOB cuda_kernel_sources CONFIGURE_DEPENDS src/cuda/*.cu src/ops/*/*.cu)
set(cuda_sm90a_sources ${cuda_kernel_sources})
list(FILTER cuda_sm90a_sources INCLUDE REGEX "_sm90a\\.cu$")
set(cuda_all_kernel_sources ${cuda_kernel_sources})
list(FILTER cuda_kernel_sources EXCLUDE REGEX "_sm90a\\.cu$")

file(GLOB_RECURSE cuda_texts CONFIGURE_DEPENDS src/*.cu src/*.cuh src/*_cuda.h src/cuda/*.h src/cuda/*.cpp)
add_custom_command(OUTPUT cuda_sources.checked
  COMMAND bash ${FTC_ROOT}/cmake/check_cuda_sources.sh ${CMAKE_CURRENT_SOURCE_DIR}/src
  COMMAND ${CMAKE_COMMAND} -E touch cuda_sources.checked
  DEPENDS ${cuda_texts} ${FTC_ROOT}/cmake/check_cuda_sources.sh VERBATIM COMMENT "Checking the CUDA sources")
add_custom_target(ftc_cuda_sources ALL DEPENDS cuda_sources.checked)

# Registers spilled to local memory are a warning, so an error, but in files that spills.txt names with a reason; what they
# spill is then held against that list by kernel_report.py.
file(STRINGS ${FTC_ROOT}/cmake/spills.txt cuda_spills REGEX "^[^#]")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${FTC_ROOT}/cmake/spills.txt)
foreach(source IN LISTS cuda_all_kernel_sources)
  get_filename_component(stem ${source} NAME_WE)
  if(NOT cuda_spills MATCHES "(^|;)${stem}: ")
    set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS -Xptxas=-warn-spills,-warn-lmem-usage)
  endif()
endforeach()

# ftc_add_cuda_kernels(name architectures sources...): an object library of kernels; 90a is an architecture of its own.
function(ftc_add_cuda_kernels name architectures)
  add_library(${name} OBJECT ${ARGN})
  target_include_directories(${name} PRIVATE include src)
  target_compile_definitions(${name} PRIVATE FTC_BUILDING)
  # One PTX for all architectures, so that all of them do the same arithmetic and cicc, which takes most of the time, runs
  # once. The PTX goes into the library too: newer GPUs compile it when it is loaded.
  set(virtual 80)
  if(architectures MATCHES a$) # code for sm_90a runs nowhere else
    set(virtual ${architectures})
  endif()
  list(TRANSFORM architectures PREPEND sm_ OUTPUT_VARIABLE codes)
  if(NOT virtual MATCHES a$)
    list(APPEND codes compute_${virtual})
  endif()
  list(JOIN codes "," codes)
  set_target_properties(${name} PROPERTIES CUDA_ARCHITECTURES OFF CUDA_SEPARABLE_COMPILATION OFF)
  # No contraction: a fused multiply-add happens where the source says so, and nowhere else, as on the CPU.
  target_compile_options(${name} PRIVATE "SHELL:-gencode arch=compute_${virtual},code=[${codes}]" -fmad=false -lineinfo -Xfatbin=-compress-all
    -Xcompiler=-Wall,-Wextra,-ffp-contract=off)
  if(FTC_WARNINGS_AS_ERRORS)
    target_compile_options(${name} PRIVATE "SHELL:-Werror all-warnings" -Xcompiler=-Werror)
  endif()
endfunction()

# Links as it ships, and checks that.
function(ftc_link_cuda_library target)
  target_link_options(${target} PRIVATE -static-libstdc++ -static-libgcc -Wl,--no-undefined -Wl,--exclude-libs,ALL -Wl,--as-needed
                      -Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/ftc.map)
  set_target_properties(${target} PROPERTIES LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/ftc.map)
  if(NOT FTC_CHECK_LIBRARIES)
    return()
  endif()
  set(twin)
  if(TARGET ftc)
    add_dependencies(${target} ftc)
    set(twin - $<TARGET_FILE:ftc>)
  endif()
  add_custom_command(TARGET ${target} POST_BUILD
    COMMAND bash ${FTC_ROOT}/cmake/check_library.sh $<TARGET_FILE:${target}> ${twin}
    VERBATIM COMMENT "Checking exports, GLIBC version and dependencies of ${target}")
endfunction()

if(FTC_NVCC)
  enable_language(CUDA)
  message(STATUS "CUDA library: nvcc ${CMAKE_CUDA_COMPILER_VERSION} (${CMAKE_CUDA_COMPILER}), sm_${FTC_CUDA_ARCHITECTURES}")
  # CMake 3.25 does not know that nvcc 12 has C++20.
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_EXTENSIONS OFF)
  set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  set(CMAKE_CUDA_FLAGS_RELEASE -O3)

  add_library(ftc_cuda_base OBJECT ${cuda_host_sources})
  target_compile_definitions(ftc_cuda_base PRIVATE FTC_BUILDING)
  target_compile_options(ftc_cuda_base PRIVATE -ffp-contract=off)
  target_include_directories(ftc_cuda_base SYSTEM PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  ftc_configure(ftc_cuda_base)
  set(cuda_objects $<TARGET_OBJECTS:ftc_cuda_base>)
  if(cuda_kernel_sources)
    ftc_add_cuda_kernels(ftc_cuda_kernels "${FTC_CUDA_ARCHITECTURES}" ${cuda_kernel_sources})
    list(APPEND cuda_objects $<TARGET_OBJECTS:ftc_cuda_kernels>)
  endif()
  if(cuda_sm90a_sources)
    ftc_add_cuda_kernels(ftc_cuda_kernels_sm90a 90a ${cuda_sm90a_sources})
    list(APPEND cuda_objects $<TARGET_OBJECTS:ftc_cuda_kernels_sm90a>)
  endif()

  add_library(ftc_cuda SHARED ${cuda_objects})
  set_target_properties(ftc_cuda PROPERTIES LINKER_LANGUAGE CUDA CUDA_ARCHITECTURES OFF)
  target_link_libraries(ftc_cuda PRIVATE cudart_static Threads::Threads ${CMAKE_DL_LIBS} rt)
  ftc_link_cuda_library(ftc_cuda)
endif()

# The same sources on the simulator.
if(TARGET simt)
  simt_add_kernels(ftc_cuda_sim_kernels ${cuda_all_kernel_sources})
  target_include_directories(ftc_cuda_sim_kernels PRIVATE include src)
  target_compile_options(ftc_cuda_sim_kernels PRIVATE -Wall -Wextra -Werror)
  add_library(ftc_cuda_sim_base OBJECT ${cuda_host_sources})
  target_compile_definitions(ftc_cuda_sim_base PRIVATE FTC_SIM FTC_BUILDING)
  target_compile_options(ftc_cuda_sim_base PRIVATE -ffp-contract=off)
  target_link_libraries(ftc_cuda_sim_base PUBLIC simt)
  ftc_configure(ftc_cuda_sim_base)
  set(cuda_sim_objects $<TARGET_OBJECTS:ftc_cuda_sim_base> $<TARGET_OBJECTS:ftc_cuda_sim_kernels>)
  add_library(ftc_cuda_sim SHARED ${cuda_sim_objects})
  target_link_libraries(ftc_cuda_sim PRIVATE simt)
  target_link_options(ftc_cuda_sim PRIVATE -Wl,--no-undefined -Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/ftc.map)
endif()

include(${CMAKE_CURRENT_LIST_DIR}/cuda_programs.cmake)
