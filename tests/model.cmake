convnext_test(model_test registry_test.cc model_test.cc class_matching_test.cc image_folder_test.cc metrics_test.cc)
convnext_test(api_test api_test.cc)
