convnext_test(apps_test apps_test.cc)
target_compile_definitions(apps_test PRIVATE CONVNEXT_PROGRAM="$<TARGET_FILE:convnext_program>"
                                             CONVNEXT_VERSION="${PROJECT_VERSION}")
add_dependencies(apps_test convnext_program)
convnext_test(quantize_test quantize_test.cc)
target_compile_definitions(quantize_test PRIVATE CONVNEXT_PROGRAM="$<TARGET_FILE:convnext_program>")
add_dependencies(quantize_test convnext_program)
