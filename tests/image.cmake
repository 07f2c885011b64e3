convnext_test(image_test image_golden_test.cc image_test.cc)
convnext_test(pixel_operations_test pixel_operations_test.cc golden.cc)
