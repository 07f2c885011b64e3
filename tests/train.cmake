convnext_test(train_test nn_test.cc loader_test.cc run_test.cc golden.cc LIBRARIES convnext_train LABELS heavy)
libtorch_precompiled_header(train_test)

convnext_test(method_test method_test.cc golden.cc LIBRARIES convnext_train LABELS heavy)

convnext_test(train_program_test train_program_test.cc LABELS heavy)
target_compile_definitions(train_program_test PRIVATE CONVNEXT_PROGRAM="$<TARGET_FILE:convnext_program>"
                                                      CONVNEXT_TRAIN_PROGRAM="$<TARGET_FILE:convnext_train_program>")
add_dependencies(train_program_test convnext_program convnext_train_program)

# What a person watches of a run; without libtorch, so that it starts at once.
convnext_test(report_test plot_test.cc reference_log_test.cc sample_sheet_test.cc tensorboard_test.cc
              LIBRARIES convnext_report)

# Without libtorch, as the report.
convnext_test(augmentation_test augmentation_test.cc golden.cc LIBRARIES convnext_augmentation)

convnext_test(train_data_test train_data_test.cc LIBRARIES convnext_train LABELS heavy)
convnext_test(data_program_test data_program_test.cc LABELS heavy)
target_compile_definitions(data_program_test PRIVATE CONVNEXT_PROGRAM="$<TARGET_FILE:convnext_program>"
                                                     CONVNEXT_TRAIN_PROGRAM="$<TARGET_FILE:convnext_train_program>")
add_dependencies(data_program_test convnext_program convnext_train_program)
