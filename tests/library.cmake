# The library as others link it.
convnext_test(c_api_test c_api_test.cc c_api_checks.c)
convnext_test(model_sharing_test model_sharing_test.cc)
convnext_script_test(exports $<TARGET_FILE:convnext_shared>)

convnext_test(precision_option_test precision_option_test.cc)
target_compile_definitions(precision_option_test PRIVATE CONVNEXT_PROGRAM="$<TARGET_FILE:convnext_program>")
add_dependencies(precision_option_test convnext_program)
if(CONVNEXT_TRAIN)
  convnext_test(train_precision_test train_precision_test.cc)
  target_compile_definitions(train_precision_test
    PRIVATE CONVNEXT_TRAIN_PROGRAM="$<TARGET_FILE:convnext_train_program>")
  add_dependencies(train_precision_test convnext_train_program)
endif()
