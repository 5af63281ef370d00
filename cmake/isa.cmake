# Kernel units are compiled once per instruction set, each copy in its own namespace. AVX512-BF16 is AVX-512 with other
# units for the linear layer (cpu.cmake): only there does it compute anything differently.
#
# Highway's AVX2 and AVX-512 targets want AES and PCLMUL, which -march=haswell and skylake-avx512 name explicitly.
if(FTC_ARCHITECTURE STREQUAL arm64)
  set(FTC_ISAS neon)
else()
  set(FTC_ISAS portable avx2 avx512 avx512bf16)
endif()
set(FTC_ISA_FLAGS_neon -march=armv8-a)
set(FTC_ISA_FLAGS_portable -march=x86-64 -mtune=generic)
set(FTC_ISA_FLAGS_avx2 -march=haswell -maes -mpclmul)
# g++ 12 calls its own AVX-512 header uninitialized (GCC bug 105593); the other two copies of each unit keep that warning.
set(FTC_ISA_FLAGS_avx512 -march=skylake-avx512 -maes -mpclmul -mprefer-vector-width=512 -Wno-uninitialized)
set(FTC_ISA_FLAGS_avx512bf16 ${FTC_ISA_FLAGS_avx512} -mavx512bf16)

# ftc_add_isa_library(name isa sources...): an object library of kernel units for one instruction set.
function(ftc_add_isa_library name isa)
  add_library(${name} OBJECT ${ARGN})
  ftc_configure(${name})
  target_compile_definitions(${name} PRIVATE FTC_ISA_NAMESPACE=${isa} FTC_ISA_${isa}=1 HWY_COMPILE_ONLY_STATIC=1)
  if(FTC_HIGHWAY_INCLUDE)
    target_include_directories(${name} SYSTEM PRIVATE ${FTC_HIGHWAY_INCLUDE})
  endif()
  if(isa STREQUAL avx512bf16)
    target_compile_definitions(${name} PRIVATE FTC_ISA_avx512=1)
  endif()
  # Kernels do not throw: checks live in api/.
  # maybe-uninitialized does not see through arrays of registers.
  # No contraction: a fused multiply-add happens where the source says so, and nowhere else.
  # Alignment: or the same loop takes a tenth more or less by where it happens to lie.
  target_compile_options(${name} PRIVATE ${FTC_ISA_FLAGS_${isa}} -Wno-maybe-uninitialized -fno-exceptions -ffp-contract=off -fno-math-errno
    -falign-functions=64 -falign-loops=64)
endfunction()
