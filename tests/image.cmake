convnext_test(image_test image_golden_test.cc image_test.cc)
