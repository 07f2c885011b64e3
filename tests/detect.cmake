convnext_test(detection_test detection_test.cc golden.cc LIBRARIES convnext_detect)
