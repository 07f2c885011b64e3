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

# Without libtorch, as the report.
convnext_test(comparison_test comparison_test.cc LIBRARIES convnext_report)

# libtorch as a backend, and the programs that hand models over to it.
convnext_test(libtorch_backend_test libtorch_backend_test.cc LIBRARIES convnext_train LABELS heavy)
convnext_test(family_programs_test family_programs_test.cc LABELS heavy)
target_compile_definitions(family_programs_test PRIVATE CONVNEXT_PROGRAM="$<TARGET_FILE:convnext_program>"
                                                        CONVNEXT_TRAIN_PROGRAM="$<TARGET_FILE:convnext_train_program>")
add_dependencies(family_programs_test convnext_program convnext_train_program)

convnext_test(nn_transformer_test nn_transformer_test.cc golden.cc LIBRARIES convnext_train LABELS heavy)

convnext_test(nn_regnet_efficientnet_test nn_regnet_efficientnet_test.cc golden.cc
              LIBRARIES convnext_train LABELS heavy)
libtorch_precompiled_header(nn_regnet_efficientnet_test)
convnext_test(nn_resnet_test nn_resnet_test.cc golden.cc LIBRARIES convnext_train LABELS heavy)

# Without libtorch, as the report.
convnext_test(roadmap_report_test roadmap_report_test.cc LIBRARIES convnext_report)

convnext_test(roadmap_program_test roadmap_program_test.cc LABELS heavy)
target_compile_definitions(roadmap_program_test PRIVATE CONVNEXT_TRAIN_PROGRAM="$<TARGET_FILE:convnext_train_program>")
add_dependencies(roadmap_program_test convnext_train_program)

convnext_test(compare_program_test compare_program_test.cc LABELS heavy)
target_compile_definitions(compare_program_test PRIVATE CONVNEXT_PROGRAM="$<TARGET_FILE:convnext_program>")
add_dependencies(compare_program_test convnext_program convnext_train_program)

convnext_test(detector_test detector_test.cc golden.cc LIBRARIES convnext_detector LABELS heavy)

# What objects look like when they are drawn; without libtorch, as the report.
convnext_test(detection_drawing_test detection_drawing_test.cc LIBRARIES convnext_report)

convnext_test(picture_detection_test picture_detection_test.cc golden.cc LIBRARIES convnext_detector LABELS heavy)
libtorch_precompiled_header(picture_detection_test)
convnext_test(detect_program_test detect_program_test.cc LABELS heavy)
target_compile_definitions(detect_program_test PRIVATE CONVNEXT_PROGRAM="$<TARGET_FILE:convnext_program>")
add_dependencies(detect_program_test convnext_program convnext_train_program)
convnext_test(detector_run_test detector_run_test.cc LIBRARIES convnext_detector_training LABELS heavy)
libtorch_precompiled_header(detector_run_test)
convnext_test(detector_train_program_test detector_train_program_test.cc LABELS heavy)
target_compile_definitions(detector_train_program_test PRIVATE CONVNEXT_PROGRAM="$<TARGET_FILE:convnext_program>")
add_dependencies(detector_train_program_test convnext_program convnext_train_program)
