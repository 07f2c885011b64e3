# cmake --install: the library with its headers, the CMake and pkg-config packages, the programs and the models.
include(CMakePackageConfigHelpers)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/convnext)

install(TARGETS convnext_shared EXPORT convnext LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS convnext EXPORT convnext-static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/convnext DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h")

# find_package(convnext) gives convnext::convnext, the shared library; find_package(convnext COMPONENTS static) also
# convnext::static. Below version 1 a minor release may break its users.
install(EXPORT convnext FILE convnext-targets.cmake NAMESPACE convnext:: DESTINATION ${package_folder})
install(EXPORT convnext-static FILE convnext-static-targets.cmake NAMESPACE convnext:: DESTINATION ${package_folder})
configure_package_config_file(cmake/convnext-config.cmake.in ${PROJECT_BINARY_DIR}/convnext-config.cmake
  INSTALL_DESTINATION ${package_folder} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/convnext-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/convnext-config.cmake ${PROJECT_BINARY_DIR}/convnext-config-version.cmake
  DESTINATION ${package_folder})

# pkg-config's names are convnext and convnext-static. Paths go from the files' own place, so that the installed tree may
# be moved.
file(RELATIVE_PATH PKG_CONFIG_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
foreach(package IN ITEMS convnext convnext-static)
  configure_file(cmake/${package}.pc.in ${PROJECT_BINARY_DIR}/${package}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${package}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()

# The programs have the library in themselves. convnext-train finds libtorch only where it is told to, never in the
# build's own environment, which the next build may remove.
if(TARGET convnext_program)
  install(TARGETS convnext_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(TARGET convnext_train_program)
  set_target_properties(convnext_train_program PROPERTIES INSTALL_RPATH "${CONVNEXT_LIBTORCH_RPATH}")
  install(TARGETS convnext_train_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/convnext/models
  FILES_MATCHING PATTERN "*.safetensors")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
