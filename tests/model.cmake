convnext_test(model_test registry_test.cc model_test.cc class_matching_test.cc image_folder_test.cc metrics_test.cc)
convnext_test(api_test api_test.cc)
convnext_test(transformer_test transformer_test.cc golden.cc)
convnext_test(layouts_test layouts_test.cc layout_goldens_test.cc exported_weights_test.cc inspection_test.cc
              layout_networks.cc golden.cc)
convnext_test(card_sources_test card_sources_test.cc layout_networks.cc golden.cc)
convnext_test(published_test published_test.cc golden.cc)
target_compile_definitions(published_test PRIVATE CONVNEXT_PROGRAM="$<TARGET_FILE:convnext_program>")
add_dependencies(published_test convnext_program)
convnext_test(preprocessing_options_test golden.cc preprocessing_options_test.cc)
target_compile_definitions(preprocessing_options_test PRIVATE CONVNEXT_PROGRAM="$<TARGET_FILE:convnext_program>")
add_dependencies(preprocessing_options_test convnext_program)
convnext_test(regnet_efficientnet_test regnet_efficientnet_test.cc golden.cc)
convnext_test(resnet_test resnet_test.cc)

convnext_test(coco_test coco_test.cc golden.cc)
# What it draws from its formula must have the bits that Python has.
set_source_files_properties(coco_test.cc PROPERTIES COMPILE_OPTIONS -ffp-contract=off)
