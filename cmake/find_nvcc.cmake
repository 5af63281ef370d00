# Finds nvcc 12.4 or newer.  cmake -P cmake/find_nvcc.cmake prints its path, or nothing.

# ftc_find_nvcc(nvcc version): the first nvcc that is new enough, or empty; `version` is then that of the last one looked at.
# Looks where the user points first, then where installers put it.
function(ftc_find_nvcc nvcc_variable version_variable)
  file(GLOB unpacked /opt/cuda-*/bin/nvcc)
  list(SORT unpacked COMPARE NATURAL ORDER DESCENDING)
  find_program(on_path nvcc NO_CACHE)
  set(version "")
  foreach(nvcc IN ITEMS "$ENV{CUDACXX}" "$ENV{CUDA_HOME}/bin/nvcc" "$ENV{CUDA_PATH}/bin/nvcc" /usr/local/cuda/bin/nvcc
                        "${on_path}" LISTS unpacked)
    if(NOT IS_ABSOLUTE "${nvcc}" OR NOT EXISTS "${nvcc}")
      continue()
    endif()
    execute_process(COMMAND ${nvcc} --version OUTPUT_VARIABLE text ERROR_QUIET)
    if(text MATCHES "release ([0-9]+\\.[0-9]+)")
      set(version ${CMAKE_MATCH_1})
      if(version VERSION_GREATER_EQUAL 12.4)
        set(${nvcc_variable} ${nvcc} PARENT_SCOPE)
        set(${version_variable} ${version} PARENT_SCOPE)
        return()
      endif()
    endif()
  endforeach()
  set(${nvcc_variable} "" PARENT_SCOPE)
  set(${version_variable} "${version}" PARENT_SCOPE)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  ftc_find_nvcc(nvcc version)
  if(nvcc)
    execute_process(COMMAND ${CMAKE_COMMAND} -E echo ${nvcc})
  endif()
endif()
