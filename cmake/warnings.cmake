# Warnings are settled here: every one is an error.
function(ftc_enable_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wconversion -Wshadow -Wpedantic -Werror)
endfunction()
