# Finds libtorch, the C++ library of PyTorch, 2.11 or newer, for the training side.
#
#   find_package(LibTorch REQUIRED)
#   target_link_libraries(convnext_train PUBLIC LibTorch::LibTorch)
#   libtorch_precompiled_header(convnext_train)
#
# Looked for in this order; each place may be an unpacked official archive, an installed wheel's torch folder, or the
# share/cmake/Torch folder of either:
#   1. LIBTORCH_ROOT, Torch_DIR and CMAKE_PREFIX_PATH, given to CMake or in the environment
#   2. the virtual environment that `tools/setup.sh everything` makes in build/libtorch
#
# Result: LibTorch_FOUND, LibTorch_VERSION, LibTorch_ROOT, LibTorch_LIBRARY_DIR, and the target LibTorch::LibTorch.
# PyTorch's own find_package(Torch) is not used: that of the wheel looks for a CUDA toolkit and fails without one.
# Only libtorch_cpu and libc10 are linked, so that one program runs with and without a GPU. libtorch_cuda registers its
# kernels when it is loaded: a program that wants them opens it from LibTorch_LIBRARY_DIR at run time.

set(_libtorch_candidates)
foreach(_place IN ITEMS ${LIBTORCH_ROOT} $ENV{LIBTORCH_ROOT} ${Torch_DIR} $ENV{Torch_DIR} ${CMAKE_PREFIX_PATH})
  list(APPEND _libtorch_candidates "${_place}" "${_place}/torch" "${_place}/../../..")
endforeach()
if(DEFINED ENV{CMAKE_PREFIX_PATH})
  file(TO_CMAKE_PATH "$ENV{CMAKE_PREFIX_PATH}" _libtorch_prefixes)
  list(APPEND _libtorch_candidates ${_libtorch_prefixes})
endif()
file(GLOB _libtorch_environment "${PROJECT_SOURCE_DIR}/build/libtorch/lib/python3*/site-packages/torch")
list(APPEND _libtorch_candidates ${_libtorch_environment})

set(LibTorch_ROOT "LibTorch_ROOT-NOTFOUND")
foreach(_place IN LISTS _libtorch_candidates)
  if(EXISTS "${_place}/include/torch/csrc/api/include/torch/torch.h")
    file(REAL_PATH "${_place}" LibTorch_ROOT)
    break()
  endif()
endforeach()

set(_libtorch_hint "Run `tools/setup.sh everything`, which puts a fitting libtorch into build/libtorch, or give the \
folder of yours with -DLIBTORCH_ROOT=... To build the runtime alone: -DCONVNEXT_TRAIN=OFF.")
set(LibTorch_VERSION)
if(LibTorch_ROOT)
  set(LibTorch_LIBRARY_DIR "${LibTorch_ROOT}/lib")
  # The version moved into the header-only part of the library in 2.9.
  foreach(_header IN ITEMS headeronly/version.h csrc/api/include/torch/version.h)
    if(EXISTS "${LibTorch_ROOT}/include/torch/${_header}" AND NOT LibTorch_VERSION)
      file(STRINGS "${LibTorch_ROOT}/include/torch/${_header}" _lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
      string(REGEX REPLACE "[^;0-9]" "" _numbers "${_lines}")
      list(JOIN _numbers "." LibTorch_VERSION)
    endif()
  endforeach()
  if(NOT LibTorch_FIND_VERSION)
    set(LibTorch_FIND_VERSION 2.11)
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_ROOT LibTorch_LIBRARY_DIR LibTorch_VERSION
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "${_libtorch_hint}")

if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::c10 SHARED IMPORTED GLOBAL)
  set_target_properties(LibTorch::c10 PROPERTIES
    IMPORTED_LOCATION "${LibTorch_LIBRARY_DIR}/libc10.so")
  # Releases since 2.7 have one C++ ABI, libstdc++'s default; there is no _GLIBCXX_USE_CXX11_ABI to set.
  add_library(LibTorch::LibTorch SHARED IMPORTED GLOBAL)
  set_target_properties(LibTorch::LibTorch PROPERTIES
    IMPORTED_LOCATION "${LibTorch_LIBRARY_DIR}/libtorch_cpu.so"
    INTERFACE_INCLUDE_DIRECTORIES "${LibTorch_ROOT}/include;${LibTorch_ROOT}/include/torch/csrc/api/include"
    INTERFACE_COMPILE_FEATURES cxx_std_20
    # The include folder holds an {fmt} of its own, newer than the system's library: only its header-only form fits.
    INTERFACE_COMPILE_DEFINITIONS FMT_HEADER_ONLY=1
    INTERFACE_LINK_LIBRARIES LibTorch::c10
    # Symbols of libraries that libtorch loads from beside itself, such as the CUDA runtime.
    INTERFACE_LINK_OPTIONS LINKER:--allow-shlib-undefined)
endif()

# libtorch_precompiled_header(TARGET): precompiles <torch/torch.h>, which takes a compiler half a minute, for a target
# that links LibTorch::LibTorch. All such targets share one copy of it.
function(libtorch_precompiled_header target)
  # -fpch-preprocess lets ccache see through the header; -fPIC makes one header fit libraries and programs alike.
  set(options $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess> -fPIC)
  if(NOT TARGET libtorch_header)
    set(source "${PROJECT_BINARY_DIR}/CMakeFiles/libtorch_header.cc")
    file(CONFIGURE OUTPUT "${source}" CONTENT "// Carries the precompiled header.\n")
    add_library(libtorch_header OBJECT EXCLUDE_FROM_ALL "${source}")
    target_link_libraries(libtorch_header PRIVATE LibTorch::LibTorch)
    target_precompile_headers(libtorch_header PRIVATE <torch/torch.h>)
    target_compile_options(libtorch_header PRIVATE ${options})
  endif()
  target_precompile_headers(${target} REUSE_FROM libtorch_header)
  target_compile_options(${target} PRIVATE ${options})
endfunction()
