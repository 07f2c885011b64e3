# Compiler, cache and linker settings for our own code.

# ccache makes a second build of the same sources a matter of seconds, in whatever folder they lie. The sloppiness is
# what it needs to reuse objects that were compiled with a precompiled header (libtorch's); our sources use no __TIME__.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_ABSSTDERR=true
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE_PROGRAM})
  set(CMAKE_C_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM)
  add_link_options(-fuse-ld=mold)
endif()
# Only checked builds call libhwy, and a process that loads it starts 7 ms later.
add_link_options(LINKER:--as-needed)

# Warnings for our code; third-party headers come in as system headers and are left alone.
add_library(convnext_warnings INTERFACE)
target_compile_options(convnext_warnings INTERFACE -Wall -Wextra -Wconversion)
if(CONVNEXT_WERROR)
  target_compile_options(convnext_warnings INTERFACE -Werror)
endif()
