# cmake --install: the library with its headers, the CMake and pkg-config packages, the programs and the models.
include(CMakePackageConfigHelpers)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/convnext)

# No export macro: objects of the static and the shared library are the same, and ccache knows it.
set_target_properties(convnext PROPERTIES
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} DEFINE_SYMBOL "")
install(TARGETS convnext EXPORT convnext
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/convnext DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h")

# find_package(convnext) gives convnext::convnext. Below version 1 a minor release may break its users.
install(EXPORT convnext FILE convnext-targets.cmake NAMESPACE convnext:: DESTINATION ${package_folder})
configure_package_config_file(cmake/convnext-config.cmake.in ${PROJECT_BINARY_DIR}/convnext-config.cmake
  INSTALL_DESTINATION ${package_folder} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/convnext-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/convnext-config.cmake ${PROJECT_BINARY_DIR}/convnext-config-version.cmake
  DESTINATION ${package_folder})

# Users of a static library link what it uses; a shared one has found that already.
if(BUILD_SHARED_LIBS)
  set(PKG_CONFIG_REQUIRES "Requires.private")
  set(PKG_CONFIG_LIBS "")
else()
  set(PKG_CONFIG_REQUIRES "Requires")
  set(PKG_CONFIG_LIBS "-lstdc++ -lm -pthread")
endif()
# Paths from the file's own place, so that the installed tree may be moved.
file(RELATIVE_PATH PKG_CONFIG_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(cmake/convnext.pc.in ${PROJECT_BINARY_DIR}/convnext.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/convnext.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# The programs find a shared libconvnext from their own place. convnext-train finds libtorch only where it is told to,
# never in the build's own environment, which the next build may remove.
file(RELATIVE_PATH library_folder ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
foreach(program IN ITEMS convnext_program convnext_train_program)
  if(TARGET ${program})
    set(run_path)
    if(BUILD_SHARED_LIBS)
      list(APPEND run_path $ORIGIN/${library_folder})
    endif()
    if(program STREQUAL "convnext_train_program")
      list(APPEND run_path ${CONVNEXT_LIBTORCH_RPATH})
    endif()
    set_target_properties(${program} PROPERTIES INSTALL_RPATH "${run_path}")
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()

install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/convnext/models
  FILES_MATCHING PATTERN "*.safetensors")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
