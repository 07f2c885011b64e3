convnext_test(train_test nn_test.cc train_test.cc golden.cc LIBRARIES convnext_train LABELS heavy)
libtorch_precompiled_header(train_test)

convnext_test(train_program_test train_program_test.cc LABELS heavy)
target_compile_definitions(train_program_test PRIVATE CONVNEXT_PROGRAM="$<TARGET_FILE:convnext_program>"
                                                      CONVNEXT_TRAIN_PROGRAM="$<TARGET_FILE:convnext_train_program>")
add_dependencies(train_program_test convnext_program convnext_train_program)
