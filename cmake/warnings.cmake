# Warnings are settled here: every one is an error, but on a machine whose compilers nobody has tried yet.
option(FTC_WARNINGS_AS_ERRORS "Fail on any warning" ON)
function(ftc_enable_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wconversion -Wshadow -Wpedantic)
  if(FTC_WARNINGS_AS_ERRORS)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
